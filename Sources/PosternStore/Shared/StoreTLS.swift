// TLS to a shared store, by OpenSSL 3's libssl between two memory BIOs: octets go in and out, the socket and its
// deadline stay StoreSocket's. The server's name or address is in its certificate, which the system's authorities or
// those of `store.ca_file` vouch for; TLS 1.2 and later (RFC 9325 §3.1.1). No certificate of ours is shown, nothing is
// resumed.

internal import CTLS

/// What all connections over TLS have in common. Source: SSL_CTX_new(3).
final class StoreTLS: @unchecked Sendable {
    // Unchecked: an SSL_CTX counts its references under locks of its own, and nothing changes it after init.
    private let context: OpaquePointer

    /// - Parameter authoritiesPath: PEM; nil for the system's.
    init(authoritiesPath: String?) throws(StoreFailure) {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw .tls("no TLS") }
        self.context = context  // freed by deinit from here on
        guard pst_tls_at_least_1_2(context) == 1 else { throw .tls("no TLS 1.2") }
        if let authoritiesPath {
            guard SSL_CTX_load_verify_file(context, authoritiesPath) == 1 else {
                throw .tls("store.ca_file \(authoritiesPath) holds no certificates")
            }
        } else {
            guard SSL_CTX_set_default_verify_paths(context) == 1 else { throw .tls("the system has no certificates") }
        }
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    }

    deinit { SSL_CTX_free(context) }

    /// For one connection.
    /// - Parameter host: the server, as the configuration or a Sentinel names it: what its certificate must be for.
    func session(with host: String) throws(StoreFailure) -> Session {
        ERR_clear_error()
        guard let connection = SSL_new(context), let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
        else { throw .tls("no memory for TLS") }
        SSL_set_bio(connection, input, output)  // owns both now
        let session = Session(owning: connection, input: input, output: output)
        SSL_set_connect_state(connection)
        // An address has no place in SNI (RFC 6066 §3); in the certificate it is one of iPAddress (RFC 5280 §4.2.1.6).
        let isNamed =
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), host) == 1
            || (SSL_set1_host(connection, host) == 1 && pst_tls_server_name(connection, host) == 1)
        guard isNamed else { throw .tls("\(host) is no name for TLS") }
        ERR_clear_error()  // of the address that is none
        return session
    }

    /// What is between one connection's plain octets and those on the wire. Not Sendable: it is its connection's.
    final class Session {
        private let connection: OpaquePointer
        private let input: OpaquePointer
        private let output: OpaquePointer

        fileprivate init(owning connection: OpaquePointer, input: OpaquePointer, output: OpaquePointer) {
            (self.connection, self.input, self.output) = (connection, input, output)
        }

        deinit { SSL_free(connection) }  // the BIOs too

        /// Takes octets from the wire.
        func take(_ octets: UnsafeRawBufferPointer) throws(StoreFailure) {
            guard let start = octets.baseAddress else { return }
            guard BIO_write(input, start, Int32(clamping: octets.count)) == octets.count else {
                throw .tls("no memory for TLS")
            }
        }

        /// Octets for the wire; empty when there are none.
        func pending() -> [UInt8] {
            let count = BIO_ctrl_pending(output)
            guard count > 0 else { return [] }
            return [UInt8](unsafeUninitializedCapacity: count) { space, made in
                made = max(0, Int(BIO_read(output, space.baseAddress, Int32(clamping: count))))
            }
        }

        /// A step of the handshake.
        /// - Returns: whether it is done; else more must come from the wire.
        func shakeHands() throws(StoreFailure) -> Bool {
            ERR_clear_error()
            let status = SSL_do_handshake(connection)
            if status == 1 { return true }
            guard SSL_get_error(connection, status) == SSL_ERROR_WANT_READ else {
                let verified = SSL_get_verify_result(connection)
                guard verified == Int(X509_V_OK) else {
                    let words = String(cString: X509_verify_cert_error_string(verified))
                    throw .unreachable("its certificate is not accepted (\(words)): see store.ca_file")
                }
                throw .tls("the TLS handshake failed")
            }
            return false
        }

        /// Plain octets of ours.
        func write(_ octets: UnsafeRawBufferPointer) throws(StoreFailure) {
            guard let start = octets.baseAddress, octets.count > 0 else { return }
            ERR_clear_error()
            // A memory BIO takes all of it.
            guard SSL_write(connection, start, Int32(clamping: octets.count)) == octets.count else {
                throw .tls("TLS broke")
            }
        }

        /// Hands plain octets of theirs to `body`, as many as are there.
        func read(_ body: (UnsafeRawBufferPointer) throws(StoreFailure) -> Void) throws(StoreFailure) {
            // As in StoreSocket: a value carries the error out.
            let failure: StoreFailure? = withUnsafeTemporaryAllocation(
                byteCount: StoreSocket.readSize, alignment: 1
            ) { space in
                do throws(StoreFailure) {
                    while true {
                        ERR_clear_error()
                        let count = SSL_read(connection, space.baseAddress, Int32(clamping: space.count))
                        if count > 0 {
                            try body(UnsafeRawBufferPointer(rebasing: space.prefix(Int(count))))
                            continue
                        }
                        switch SSL_get_error(connection, count) {
                        case SSL_ERROR_WANT_READ: return nil
                        case SSL_ERROR_ZERO_RETURN: throw .unreachable("it closed the connection")
                        default: throw .tls("TLS broke")
                        }
                    }
                } catch {
                    return error
                }
            }
            if let failure { throw failure }
        }
    }
}

extension StoreFailure {
    /// With what OpenSSL says about it. Source: ERR_get_error(3).
    fileprivate static func tls(_ text: String) -> StoreFailure {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, let reason = ERR_reason_error_string(code) else { return .unreachable(text) }
        let words = String(cString: reason)
        let hint = words == "wrong version number" ? ": it does not speak TLS; store.url wants redis:// then" : ""
        return .unreachable("\(text) (\(words))\(hint)")
    }
}
