// Memory that kernels keep from call to call, so that a warm call allocates nothing.
#pragma once

#include <any>
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
    std::any& held = held_[typeid(Held<T>)];
    if (!held.has_value()) held.emplace<Held<T>>();
    return *std::any_cast<Held<T>&>(held).object;
  }

  /// The calling thread's own, kept until the thread ends.
  static Workspace& of_thread() {
    thread_local Workspace own;
    return own;
  }

 private:
  /// std::any holds only what can be copied.
  template <class T>
  struct Held {
    std::shared_ptr<T> object = std::make_shared<T>();
  };
  std::map<std::type_index, std::any> held_;
};

}  // namespace salebench::cpu
