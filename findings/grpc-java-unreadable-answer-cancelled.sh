#!/usr/bin/env bash
# grpc-java: a call ends with CANCELLED, "Failed to read message.", if the client cannot parse the answer. gRPC's table
# of status codes (doc/statuscodes.md in grpc/grpc) gives INTERNAL for that, and CANCELLED for a call that the client's
# application cancelled. So one expects INTERNAL. The marshaller of grpc-protobuf throws INTERNAL, but grpc-java
# reports this status only as the cause of its own. An application that reads the code takes the call for a cancelled
# one. An application that tries such calls again gets the same answer again. (The error of grpc/grpc-java#7336 has
# the same two codes, in version 1.31.1.)
#
# gemwire's client reports the status of the cause where a CANCELLED status has one.
#
# Seen with grpc-java 1.85.1 on Java 17:
#   UNARY: CANCELLED, Failed to read message.
#     its cause: INTERNAL, Invalid protobuf byte sequence
#   SERVER_STREAMING: CANCELLED, Failed to read message.
#     its cause: INTERNAL, Invalid protobuf byte sequence
#
# Exit code 0: as described. Needs a JDK 17 or newer, Maven 3.8 or newer, and a package repository.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >pom.xml <<'XML'
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>findings</groupId>
  <artifactId>unreadable</artifactId>
  <version>0</version>
  <dependencies>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-netty-shaded</artifactId>
      <version>1.85.1</version>
    </dependency>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-protobuf</artifactId>
      <version>1.85.1</version>
    </dependency>
    <dependency>
      <groupId>io.grpc</groupId>
      <artifactId>grpc-stub</artifactId>
      <version>1.85.1</version>
    </dependency>
  </dependencies>
</project>
XML
cat >Unreadable.java <<'JAVA'
import com.google.protobuf.StringValue;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.Marshaller;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;

public class Unreadable {
  /** A field of five bytes of which one is there. */
  private static final byte[] TRUNCATED = {0x0a, 5, 'a'};

  /** The server's marshaller. */
  private static final Marshaller<byte[]> BYTES =
      new Marshaller<>() {
        @Override
        public InputStream stream(byte[] message) {
          return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream message) {
          try {
            return message.readAllBytes();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        }
      };

  private static final Marshaller<StringValue> PROTOBUF =
      ProtoUtils.marshaller(StringValue.getDefaultInstance());

  private static final StringValue REQUEST = StringValue.of("a");

  private static <T> MethodDescriptor<T, T> method(MethodType type, Marshaller<T> marshaller) {
    return MethodDescriptor.newBuilder(marshaller, marshaller)
        .setType(type)
        .setFullMethodName("Service/" + type)
        .build();
  }

  /** Calls the method, and prints the status of the call and the status that is its cause. */
  private static void call(ManagedChannel channel, MethodType type) {
    try {
      if (type == MethodType.UNARY) {
        ClientCalls.blockingUnaryCall(channel, method(type, PROTOBUF), CallOptions.DEFAULT, REQUEST);
      } else {
        ClientCalls.blockingServerStreamingCall(
                channel, method(type, PROTOBUF), CallOptions.DEFAULT, REQUEST)
            .forEachRemaining(answer -> {});
      }
      System.out.println(type + ": OK");
    } catch (StatusRuntimeException error) {
      Status status = error.getStatus();
      System.out.println(type + ": " + status.getCode() + ", " + status.getDescription());
      if (status.getCause() instanceof StatusRuntimeException cause) {
        status = cause.getStatus();
        System.out.println("  its cause: " + status.getCode() + ", " + status.getDescription());
      }
    }
  }

  public static void main(String[] args) throws IOException {
    ServerServiceDefinition service =
        ServerServiceDefinition.builder("Service")
            .addMethod(
                method(MethodType.UNARY, BYTES),
                ServerCalls.asyncUnaryCall((request, answers) -> answer(answers)))
            .addMethod(
                method(MethodType.SERVER_STREAMING, BYTES),
                ServerCalls.asyncServerStreamingCall((request, answers) -> answer(answers)))
            .build();
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    Server server = NettyServerBuilder.forAddress(address).addService(service).build().start();
    address = (InetSocketAddress) server.getListenSockets().get(0);
    ManagedChannel channel = NettyChannelBuilder.forAddress(address).usePlaintext().build();
    call(channel, MethodType.UNARY);
    call(channel, MethodType.SERVER_STREAMING);
    channel.shutdownNow();
    server.shutdownNow();
  }

  private static void answer(StreamObserver<byte[]> answers) {
    answers.onNext(TRUNCATED);
    answers.onCompleted();
  }
}
JAVA
mvn --quiet --batch-mode -Dmaven.repo.local="$folder/repository" -DoutputDirectory="$folder/jars" \
  org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies >&2
output=$(java -cp "jars/*" Unreadable.java)
echo "$output"
[[ $(sed 's/,.*//' <<<"$output" | paste -sd ';') == \
  "UNARY: CANCELLED;  its cause: INTERNAL;SERVER_STREAMING: CANCELLED;  its cause: INTERNAL" ]] || {
  echo "grpc-java behaves otherwise now" >&2
  exit 1
}
