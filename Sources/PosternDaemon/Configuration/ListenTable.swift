// `[listen]`: where the daemons' sockets are. Each daemon reads its own key; the others' are there so that they can be
// dialled, and so that two daemons cannot be given one socket.

public import PosternMail

/// Where the daemons listen.
public struct ListenSettings: Sendable {
    public let dkim: Endpoint
    public let dmarc: Endpoint
    public let policy: Endpoint
    public let rate: Endpoint
    public let dns: [Endpoint]
    /// The folder of the control sockets.
    public let control: String
    /// Mode of the UNIX sockets.
    public let mode: UInt16
}

enum ListenTable {
    private static func milter(_ name: String) -> Key<Endpoint> {
        Key(
            name, .text(.stream), default: .unix(path: "/var/spool/postfix/postern/\(name).sock"),
            "Where postern-\(name) listens: \"unix:/PATH\" or \"inet:PORT@ADDRESS\".")
    }
    static let dkim = milter("dkim")
    static let dmarc = milter("dmarc")
    static let policy = milter("policy")
    static let rate = milter("rate")
    static let dns = Key(
        "dns", .list(of: .nameServer, atLeast: 1, atMost: 16), default: [.unix(path: "/run/postern/dns.sock")],
        "Where postern-dns listens: \"unix:/PATH\", and on loopback \"udp:127.0.0.1:5300\" or \"tcp:127.0.0.1:5300\", "
            + "which dig can ask. The daemons ask the first UNIX socket, else TCP.")
    static let control = Key(
        "control", .socketFolder, default: "/run/postern", "The folder of the control sockets, which the CLI asks.")
    static let mode = Key("mode", .mode, default: 0o660, "Mode of the UNIX sockets.")

    static let declaration = TableDeclaration(
        "listen", "Where the daemons listen. Postfix's smtpd is chrooted: its sockets lie below the queue directory.",
        keys: [dkim, dmarc, policy, rate, dns, control, mode])
}

extension ListenSettings {
    init(_ values: TableValues) {
        dkim = values[ListenTable.dkim]
        dmarc = values[ListenTable.dmarc]
        policy = values[ListenTable.policy]
        rate = values[ListenTable.rate]
        dns = values[ListenTable.dns]
        control = values[ListenTable.control]
        mode = values[ListenTable.mode]
    }

    /// Reports endpoints that two daemons would share, and a postern-dns that they could not ask.
    static func check(_ values: TableValues, _ reader: inout ValueReader) {
        var owners: [Endpoint: String] = [:]
        for key in [ListenTable.dkim, ListenTable.dmarc, ListenTable.policy, ListenTable.rate] {
            claim(values[key], key, values, &owners, &reader)
        }
        let dns = values[ListenTable.dns]
        for endpoint in dns { claim(endpoint, ListenTable.dns, values, &owners, &reader) }
        let areAllDatagrams = dns.allSatisfy { if case .udp = $0 { true } else { false } }
        if areAllDatagrams {
            reader.report(
                "expected a \"unix:/PATH\" or \"tcp:127.0.0.1:PORT\" for the daemons, found only UDP",
                at: values.position(of: ListenTable.dns), keyPath: "\(values.path).dns")
        }
    }

    private static func claim(
        _ endpoint: Endpoint, _ key: any KeyDeclaration, _ values: TableValues, _ owners: inout [Endpoint: String],
        _ reader: inout ValueReader
    ) {
        let path = "\(values.path).\(key.name)"
        if let owner = owners[endpoint] {
            reader.report(
                "expected an endpoint of its own, found \(endpoint), which is \(owner)'s", at: values.position(of: key),
                keyPath: path)
        } else {
            owners[endpoint] = path
        }
    }
}
