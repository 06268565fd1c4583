package gemwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	defaultTimeout  = 60 * time.Second
	maxReceiveBytes = 64 << 20
	keepaliveTime   = 60 * time.Second
	keepaliveWait   = 20 * time.Second
	// Addresses are taken in turns. There is no retry policy: gRPC knows the code of an error, not its sender.
	serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}]}`
)

// A DialOption changes how [Dial] makes a client.
type DialOption interface {
	applyDial(*dialSettings) error
}

type dialSettings struct {
	tls     *tls.Config // nil: plain text
	token   string
	timeout time.Duration
	grpc    []grpc.DialOption
}

type dialFunc func(*dialSettings) error

func (f dialFunc) applyDial(s *dialSettings) error { return f(s) }

// WithTLS connects by TLS and trusts the system's certificate authorities.
func WithTLS() DialOption {
	return dialFunc(func(s *dialSettings) error {
		s.useTLS()
		return nil
	})
}

// WithCAFile connects by TLS and trusts the certificates of this PEM file alone.
func WithCAFile(path string) DialOption {
	return dialFunc(func(s *dialSettings) error {
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("gemwire: the CA file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("gemwire: %s has no certificate in PEM", path)
		}
		s.useTLS().RootCAs = pool
		return nil
	})
}

// WithClientCertificate connects by TLS and shows the server this certificate, of two PEM files.
func WithClientCertificate(certFile, keyFile string) DialOption {
	return dialFunc(func(s *dialSettings) error {
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return fmt.Errorf("gemwire: the client certificate: %w", err)
		}
		s.useTLS().Certificates = []tls.Certificate{certificate}
		return nil
	})
}

// WithToken sends "authorization: Bearer TOKEN" with every call, by plain text too.
func WithToken(token string) DialOption {
	return dialFunc(func(s *dialSettings) error {
		for _, letter := range []byte(token) {
			if letter < ' ' || letter > '~' {
				return errors.New("gemwire: the token holds a character that no header takes")
			}
		}
		s.token = token
		return nil
	})
}

// WithGRPC adds options of gRPC itself, for example an interceptor or a dialer. They win over the client's own.
func WithGRPC(opts ...grpc.DialOption) DialOption {
	return dialFunc(func(s *dialSettings) error {
		s.grpc = append(s.grpc, opts...)
		return nil
	})
}

// A TimeoutOption is an option of [Dial] and of every call.
type TimeoutOption time.Duration

// WithTimeout sets the timeout: of a unary call with all its tries, and of a stream the longest wait for
// the server's next message. With [Dial] it is the default of all calls, which is 60 s without it. 0 switches
// it off; a negative one has passed. A call that takes several requests has it for each of them; its context
// bounds the whole.
func WithTimeout(timeout time.Duration) TimeoutOption { return TimeoutOption(timeout) }

func (t TimeoutOption) applyDial(s *dialSettings) error {
	s.timeout = time.Duration(t)
	return nil
}

func newDialSettings(opts []DialOption) (*dialSettings, error) {
	s := &dialSettings{timeout: defaultTimeout}
	for _, opt := range opts {
		if err := opt.applyDial(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *dialSettings) useTLS() *tls.Config {
	if s.tls == nil {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return s.tls
}

func (s *dialSettings) grpcOptions() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if s.tls != nil {
		transport = credentials.NewTLS(s.tls)
	}
	// gRPC's own backoff grows to two minutes: the client's next try would not reach a server that is back.
	reconnect := grpcbackoff.Config{BaseDelay: firstPause, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveWait}),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(), // gRPC would find one in environment variables
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 20 * time.Second}),
	}
	if s.token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(s.token)))
	}
	return append(opts, s.grpc...)
}

// bearer is a token that goes with each call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }
