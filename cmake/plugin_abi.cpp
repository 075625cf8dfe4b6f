// A part of every plugin: what the program looks for in its file before it loads it.
#include "core/plugin_abi.h"

extern "C" [[gnu::section(".salebench_abi"), gnu::used,
             gnu::visibility("default")]] const salebench::AbiText salebench_plugin_abi = salebench::abi_text();
