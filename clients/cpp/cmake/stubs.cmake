set(GEMWIRE_PROTO_ROOTS
  ${CMAKE_CURRENT_SOURCE_DIR}/../../proto
  ${CMAKE_CURRENT_SOURCE_DIR}/../../third_party
  CACHE STRING "Folders of gemwire/v1/embedding.proto and of the files that it imports")

# gemwire_add_stubs(NAME [GRPC] PROTOS FILE...) adds the library gemwire::NAME of the messages, and with
# GRPC of the services, of these files. They are generated in the build folder: they fit the protobuf that
# generated them and no other.
function(gemwire_add_stubs name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "GRPC" "" "PROTOS")
  set(out ${CMAKE_CURRENT_BINARY_DIR}/stubs/${name})
  file(MAKE_DIRECTORY ${out})
  list(TRANSFORM GEMWIRE_PROTO_ROOTS PREPEND -I OUTPUT_VARIABLE roots)
  set(plugin "")
  set(suffixes .pb)
  if(arg_GRPC)
    set(plugin --grpc_out=${out} --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    list(APPEND suffixes .grpc.pb)
  endif()
  set(sources "")
  foreach(proto IN LISTS arg_PROTOS)
    find_file(gemwire_proto ${proto} PATHS ${GEMWIRE_PROTO_ROOTS} NO_DEFAULT_PATH NO_CACHE REQUIRED)
    string(REPLACE .proto "" stem ${proto})
    set(files "")
    foreach(suffix IN LISTS suffixes)
      list(APPEND files ${out}/${stem}${suffix}.cc ${out}/${stem}${suffix}.h)
    endforeach()
    add_custom_command(
      OUTPUT ${files}
      COMMAND protobuf::protoc ${roots} --cpp_out=${out} ${plugin} ${proto}
      DEPENDS ${gemwire_proto}
      VERBATIM)
    list(APPEND sources ${files})
    unset(gemwire_proto)
  endforeach()

  add_library(gemwire_${name} ${sources})
  add_library(gemwire::${name} ALIAS gemwire_${name})
  set_target_properties(gemwire_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_compile_features(gemwire_${name} PUBLIC cxx_std_17)
  target_include_directories(gemwire_${name} SYSTEM PUBLIC
    $<BUILD_INTERFACE:${out}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(gemwire_${name} PUBLIC protobuf::libprotobuf Threads::Threads)
  if(arg_GRPC)
    target_link_libraries(gemwire_${name} PUBLIC gRPC::grpc++)
  endif()
  install(DIRECTORY ${out}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endfunction()
