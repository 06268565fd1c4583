"""Access to the server: certificates, tokens and their quotas, each read again when its file changes."""

from gemwire_server.config.options import ServerConfig
from gemwire_server.security.certificates import Certificates
from gemwire_server.security.reloaded import OnBadFile
from gemwire_server.security.tokens import Tokens

__all__ = ["Certificates", "OnBadFile", "Tokens", "open_certificates", "open_tokens"]


def open_certificates(config: ServerConfig, on_bad_file: OnBadFile) -> Certificates | None:
    """The configured ones; raises ConfigError, naming the file, if they cannot be used."""
    if not config.tls_cert:
        return None
    return Certificates(config.tls_cert, config.tls_key, config.tls_client_ca, on_bad_file)


def open_tokens(config: ServerConfig, on_bad_file: OnBadFile) -> Tokens | None:
    """The configured ones; raises ConfigError, naming file and line, if they cannot be read."""
    if not config.tokens_file:
        return None
    return Tokens(config.tokens_file, config.fronts, on_bad_file)


def check_files(config: ServerConfig) -> None:
    """Raises ConfigError for files that cannot be used; imports no gRPC."""
    open_certificates(config, _nobody)
    open_tokens(config, _nobody)


def _nobody(kind: str) -> None:
    pass
