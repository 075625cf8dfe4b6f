# Writes abi_id.h: the version, and a hash over the headers that a plugin may include. Run by cmake -P when one of them has
# changed: -DROOT=folder -DHEADERS=list -DVERSION= -DOUTPUT=
set(sums "")
foreach(header IN LISTS HEADERS)
  file(SHA256 ${ROOT}/${header} sum)
  string(APPEND sums "${header} ${sum}\n")
endforeach()
string(SHA256 hash "${sums}")
string(SUBSTRING ${hash} 0 12 hash)
file(WRITE ${OUTPUT} "// Made by the build.\n#pragma once\n\n#define SALEBENCH_ABI_ID \"${VERSION}, headers ${hash}\"\n")
