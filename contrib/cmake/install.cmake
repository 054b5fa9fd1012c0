# Installation: programs of one build go into lib/gears/<build-id>/<os-arch>/ and are never
# overwritten, as another host may be running them from the same home; bin/ holds dispatchers,
# and lib/gears/current, replaced last and in one step, names the build that new starts use.
set(GEARS_PROGRAMS "")
foreach(program gearsctl gearsd gears-keeper gears-relay gears-tunnel)
  if(TARGET ${program})
    string(APPEND GEARS_PROGRAMS " \"$<TARGET_FILE:${program}>\"")
  endif()
endforeach()

install(CODE "
set(root \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
set(build \"\${root}/lib/gears/${GEARS_BUILD_ID}\")
set(programs ${GEARS_PROGRAMS})
set(contrib \"${CMAKE_SOURCE_DIR}/contrib\")
set(share ${GEARS_SHARE} Makefile)
set(os_arch \"${GEARS_OS_ARCH}\")
set(build_id \"${GEARS_BUILD_ID}\")
")

install(CODE [[
string(RANDOM LENGTH 8 mark)

# A folder appears complete under its name or not at all.
function(gears_place from to)
  if(EXISTS "${to}")
    message(STATUS "Already there: ${to}")
    file(REMOVE_RECURSE "${from}")
    return()
  endif()
  file(RENAME "${from}" "${to}")
  message(STATUS "Installed: ${to}")
endfunction()

file(MAKE_DIRECTORY "${build}" "${root}/bin")
set(fresh "${build}/.${os_arch}.${mark}")
file(COPY ${programs} DESTINATION "${fresh}" USE_SOURCE_PERMISSIONS)
gears_place("${fresh}" "${build}/${os_arch}")

set(fresh "${build}/.share.${mark}")
file(MAKE_DIRECTORY "${fresh}")
foreach(part IN LISTS share)
  file(COPY "${contrib}/${part}" DESTINATION "${fresh}" USE_SOURCE_PERMISSIONS
    PATTERN "__pycache__" EXCLUDE)
endforeach()
gears_place("${fresh}" "${build}/share")

foreach(name gearsctl gearsd)
  file(COPY "${contrib}/dispatcher" DESTINATION "${root}/bin/.${mark}" USE_SOURCE_PERMISSIONS)
  file(RENAME "${root}/bin/.${mark}/dispatcher" "${root}/bin/${name}")
endforeach()
file(REMOVE_RECURSE "${root}/bin/.${mark}")
# man(1) looks into share/man beside a bin of PATH.
file(MAKE_DIRECTORY "${root}/share")
file(CREATE_LINK "../lib/gears/${build_id}/share/man" "${root}/share/.man.${mark}" SYMBOLIC)
if(EXISTS "${root}/share/man" AND NOT IS_SYMLINK "${root}/share/man")
  file(REMOVE "${root}/share/.man.${mark}")
else()
  file(RENAME "${root}/share/.man.${mark}" "${root}/share/man")
endif()
file(WRITE "${root}/lib/gears/.current.${mark}" "${build_id}\n")
file(RENAME "${root}/lib/gears/.current.${mark}" "${root}/lib/gears/current")
message(STATUS "Current build: ${build_id}")
]])
