// Memory that kernels keep from call to call, so that a warm call allocates nothing.
#pragma once

#include <map>
#include <memory>
#include <typeindex>

namespace salebench::cpu {

/// One object of each type that a kernel asks for, such as its packed keys. A workspace serves one call at a time.
class Workspace {
 public:
  /// The T of this workspace, made on first use; it stays where it is.
  template <class T>
  T& get() {
    std::shared_ptr<void>& held = held_[typeid(T)];
    if (!held) held = std::make_shared<T>();
    return *static_cast<T*>(held.get());
  }

  /// The calling thread's own, kept until the thread ends.
  static Workspace& of_thread() {
    thread_local Workspace own;
    return own;
  }

 private:
  std::map<std::type_index, std::shared_ptr<void>> held_;
};

}  // namespace salebench::cpu
