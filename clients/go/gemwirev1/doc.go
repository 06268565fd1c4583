// Package gemwirev1 holds the messages and services of the API gemwire.v1, generated from
// proto/gemwire/v1/embedding.proto. Package gemwire is the client on top of them.
package gemwirev1
