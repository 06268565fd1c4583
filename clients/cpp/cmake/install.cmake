set(gemwire_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gemwire)

# google.rpc has a set of targets of its own, which a user's own gemwire::googleapis replaces.
if(TARGET gemwire_googleapis)
  install(TARGETS gemwire_googleapis EXPORT gemwire-googleapis)
  install(EXPORT gemwire-googleapis NAMESPACE gemwire:: DESTINATION ${gemwire_package_dir})
endif()
install(TARGETS gemwire_stubs gemwire_client EXPORT gemwire-targets)
install(EXPORT gemwire-targets NAMESPACE gemwire:: DESTINATION ${gemwire_package_dir})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

configure_package_config_file(cmake/gemwire-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/gemwire-config.cmake INSTALL_DESTINATION ${gemwire_package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/gemwire-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/gemwire-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/gemwire-config-version.cmake
  DESTINATION ${gemwire_package_dir})
