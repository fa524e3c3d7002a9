// `[store]` as a whole: what its files are like, and what is hardly meant. A store that cannot be reached is nobody's
// mistake here: the daemons tell.

internal import Glibc
internal import PosternAdmission
internal import PosternMail

extension StoreSettings {
    /// Longest password file. Longest certificates' file.
    private static let (maxPasswordOctets, maxAuthoritiesOctets) = (4096, 4 << 20)

    func check(_ table: TableValues, _ reader: inout ValueReader) {
        let position = table.position(of: StoreTable.url)
        if let url {
            checkWay(to: url, at: position, &reader)
        } else if passwordPath != nil || authoritiesPath != nil || user != nil {
            reader.advise("nothing is shared: there is no url", at: position, keyPath: "store.url")
        }
        if user != nil, passwordPath == nil {
            reader.advise(
                "not used: there is no password_file", at: table.position(of: StoreTable.user), keyPath: "store.user")
        }
        guard reader.opensFiles else { return }
        if let passwordPath { checkPassword(passwordPath, at: table.position(of: StoreTable.passwordFile), &reader) }
        if let authoritiesPath {
            let position = table.position(of: StoreTable.authoritiesFile)
            reader.keyPath = "store.ca_file"
            let octets = reader.octets(ofFile: authoritiesPath, cap: Self.maxAuthoritiesOctets, at: position)
            if let octets, octets.firstRange(of: Array("-----BEGIN CERTIFICATE-----".utf8)) == nil {
                reader.report("expected certificates in PEM, found none in \(printable(authoritiesPath))", at: position)
            }
            if let url, !url.scheme.usesTLS {
                reader.advise(
                    "not used: there is no TLS without rediss:// or rediss+sentinel://", at: position,
                    keyPath: reader.keyPath)
            }
        }
    }

    private func checkPassword(_ path: String, at position: SourcePosition, _ reader: inout ValueReader) {
        reader.keyPath = "store.password_file"
        guard let octets = reader.octets(ofFile: path, cap: Self.maxPasswordOctets, at: position) else { return }
        if octets.first == nil || octets.first == 0x0A || octets.first == 0x0D {
            reader.report(
                "expected the password in the file's first line, found an empty one in \(printable(path))", at: position
            )
        }
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IRWXO != 0 {
            reader.advise(
                "everyone on this host can read it, mode \(FileRights.octal(status.st_mode)): chown root:postern and "
                    + "chmod 0640 \(printable(path))", at: position, keyPath: reader.keyPath)
        }
    }

    /// Addresses and logins of mail, and the password, are for nobody on the way.
    private func checkWay(to url: StoreURL, at position: SourcePosition, _ reader: inout ValueReader) {
        guard !url.scheme.usesTLS else { return }
        // What is a name may be an address of either kind.
        let open = url.servers.first { server in IPAddress(server.host).map { !Self.isInside($0) } ?? false }
        guard let open else { return }
        let instead = url.scheme == .redis ? "rediss://" : "rediss+sentinel://"
        reader.advise(
            "\(open.host) is an address of the Internet's, and mail addresses and the password go there for all to "
                + "read: use \(instead), or a tunnel", at: position, keyPath: "store.url")
    }

    /// Whether an address is one that the Internet does not carry. Source: RFC 1918 §3, RFC 4193 §3.1, RFC 3927 §2.1,
    /// RFC 4291 §2.5.6, RFC 6598 §7.
    private static func isInside(_ address: IPAddress) -> Bool {
        if address.isLoopback { return true }
        return switch address.unmapped {
        case .v4(let bits):
            bits >> 24 == 10 || bits >> 20 == 0xAC1 || bits >> 16 == 0xC0A8 || bits >> 16 == 0xA9FE
                || bits >> 22 == 0x6440 >> 6
        case .v6(let high, _): high >> 57 == 0xFC >> 1 || high >> 54 == 0xFE80 >> 6
        }
    }
}
