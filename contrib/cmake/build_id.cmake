# The build id names one content of all that is installed and of the flags that matter; a build is
# installed under it and never overwritten, and every program can tell which build it is.
file(GLOB_RECURSE GEARS_HASHED CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/common/*.[ch] ${CMAKE_SOURCE_DIR}/proto/*.[ch]
  ${CMAKE_SOURCE_DIR}/proto/*.varlink ${CMAKE_SOURCE_DIR}/daemon/*.[ch]
  ${CMAKE_SOURCE_DIR}/client/*.[ch] ${CMAKE_SOURCE_DIR}/CMakeLists.txt)
foreach(part IN LISTS GEARS_SHARE)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/contrib/${part}/*)
  list(FILTER files EXCLUDE REGEX "/__pycache__/")
  list(APPEND GEARS_HASHED ${files})
endforeach()
list(APPEND GEARS_HASHED ${CMAKE_SOURCE_DIR}/contrib/Makefile)
list(SORT GEARS_HASHED)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${GEARS_HASHED})
set(GEARS_DIGEST "${CMAKE_BUILD_TYPE} ${CMAKE_C_COMPILER_ID} ${CMAKE_C_FLAGS} ${GEARS_SANITIZE}")
foreach(file IN LISTS GEARS_HASHED)
  file(SHA256 ${file} digest)
  string(APPEND GEARS_DIGEST "\n${digest}")
endforeach()
string(SHA256 GEARS_DIGEST "${GEARS_DIGEST}")
string(SUBSTRING ${GEARS_DIGEST} 0 12 GEARS_DIGEST)
set(GEARS_BUILD_ID "${PROJECT_VERSION}-${GEARS_DIGEST}")
string(TOLOWER "${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}" GEARS_OS_ARCH)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/build_id.h CONTENT
"#ifndef GEARS_BUILD_ID_H
#define GEARS_BUILD_ID_H
#define GEARS_VERSION \"@PROJECT_VERSION@\"
#define GEARS_BUILD_ID \"@GEARS_BUILD_ID@\"
#endif
" @ONLY)
message(STATUS "gears build ${GEARS_BUILD_ID} (${GEARS_OS_ARCH})")
