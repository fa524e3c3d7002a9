// OpenSSL 3's libssl for Swift. What is defined here are macros that Swift cannot import.
#ifndef POSTERN_CTLS_SHIM_H
#define POSTERN_CTLS_SHIM_H

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline int pst_tls_at_least_1_2(SSL_CTX *context) {
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
}

static inline int pst_tls_server_name(SSL *connection, const char *name) {
    return (int)SSL_set_tlsext_host_name(connection, name);
}

#endif
