// What a plugin and the program that loads it must agree on, as a text. Both compile this header with their own flags,
// and the program compares its text with that of the plugin's file before any code of the plugin runs.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "core/registry.h"
#ifndef SALEBENCH_ABI_ID
#include "core/abi_id.h"  // made by the build: the version, and a hash over all headers that are installed
#endif

namespace salebench {

/// The section of a plugin's file that holds its text.
inline constexpr const char* kAbiSection = ".salebench_abi";

/// Ends with zeros.
using AbiText = std::array<char, 512>;

/// Version, headers, compiler, C++ library, and the sizes of the types that methods are made of: these show flags that
/// change layouts, such as -fpack-struct or _GLIBCXX_DEBUG, whatever they are.
constexpr AbiText abi_text() {
  AbiText text{};
  std::size_t end = 0;
  const auto add = [&](std::string_view part) {
    for (const char c : part) text[end++] = c;
  };
  const auto add_number = [&](std::size_t number) {
    std::size_t digit = 1;
    while (number / digit >= 10) digit *= 10;
    for (; digit > 0; digit /= 10) text[end++] = char('0' + number / digit % 10);
  };
  add("salebench ");
  add(SALEBENCH_ABI_ID);
#ifdef __clang__
  add(", Clang ");
  add_number(__clang_major__);
#else
  add(", GCC ");
  add_number(__GNUC__);
#endif
#ifdef _LIBCPP_ABI_VERSION
  add(", libc++ ABI ");
  add_number(_LIBCPP_ABI_VERSION);
#else
  add(", libstdc++ C++11 ABI ");
  add_number(_GLIBCXX_USE_CXX11_ABI);
#endif
  add(", sizes");
  for (const std::size_t size :
       {sizeof(Method), sizeof(MethodInfo), sizeof(Param), sizeof(Params), sizeof(ParamValues), sizeof(Knob),
        sizeof(About), sizeof(Shape), sizeof(HostProblem), sizeof(BlockGrid), sizeof(MaskView), sizeof(BlockMask),
        sizeof(Window), sizeof(Role), alignof(Shape), alignof(MethodInfo)}) {
    add(" ");
    add_number(size);
  }
  return text;
}

}  // namespace salebench
