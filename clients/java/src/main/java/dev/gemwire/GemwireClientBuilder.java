package dev.gemwire;

import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicReference;

/** The settings of a client. It reads no environment variables. */
public final class GemwireClientBuilder {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);
  private static final Duration LONGEST = Duration.ofDays(36_500);

  private final String address;
  private TlsChannelCredentials.Builder tls;
  private String token;
  private Duration timeout = TIMEOUT;

  GemwireClientBuilder(String address) {
    this.address = address;
  }

  /**
   * Switches TLS on. The server's certificate must come from an authority of the system.
   *
   * @return this
   */
  public GemwireClientBuilder tls() {
    if (tls == null) {
      tls = TlsChannelCredentials.newBuilder();
    }
    return this;
  }

  /**
   * Switches TLS on. The server's certificate must come from these authorities.
   *
   * @param authorities a PEM file of certificates
   * @return this
   * @throws IOException if the file cannot be read
   */
  public GemwireClientBuilder tls(Path authorities) throws IOException {
    tls().tls.trustManager(authorities.toFile());
    return this;
  }

  /**
   * Switches TLS on, and shows a certificate to a server that asks for one.
   *
   * @param certificate a PEM file of the certificate and those between it and its authority
   * @param key a PEM file of its key in PKCS #8 ("BEGIN PRIVATE KEY"), not encrypted
   * @return this
   * @throws IOException if a file cannot be read
   */
  public GemwireClientBuilder clientCertificate(Path certificate, Path key) throws IOException {
    tls().tls.keyManager(certificate.toFile(), key.toFile());
    return this;
  }

  /**
   * Sends a token with every call, as {@code authorization: Bearer TOKEN}.
   *
   * @param token printable ASCII characters, the first and the last of them no space
   * @return this
   * @throws IllegalArgumentException if the token is empty or holds other characters
   */
  public GemwireClientBuilder token(String token) {
    if (!token.matches("[!-~]([ -~]*[!-~])?")) {
      throw new IllegalArgumentException(
          "the token is empty or holds a character that no header takes");
    }
    this.token = token;
    return this;
  }

  /**
   * Sets the time for each request with all its tries, and for a stream the longest wait for an
   * answer. It is 60 s unless set.
   *
   * @param timeout the time, more than 0
   * @return this
   */
  public GemwireClientBuilder timeout(Duration timeout) {
    this.timeout = checked(timeout);
    return this;
  }

  /**
   * Switches the timeout off: calls wait for ever, and send no deadline.
   *
   * @return this
   */
  public GemwireClientBuilder noTimeout() {
    timeout = null;
    return this;
  }

  /**
   * Makes the client. It connects with its first call.
   *
   * @return the client; close it
   * @throws IllegalArgumentException if the address or a PEM file makes no sense
   */
  public GemwireClient build() {
    Connection connection =
        new Connection(
            address, tls == null ? InsecureChannelCredentials.create() : tls.build(), token);
    return new GemwireClient(connection, timeout, new AtomicReference<>());
  }

  static Duration checked(Duration timeout) {
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("the timeout is not more than 0");
    }
    // Nanoseconds of more do not fit in a long.
    return timeout.compareTo(LONGEST) > 0 ? LONGEST : timeout;
  }
}
