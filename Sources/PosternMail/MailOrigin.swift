// Whose mail a message is: what decides between signing, judging and leaving alone. All daemons ask it the same way.

/// The share of `[host]` that tells ours from strangers'.
public struct OriginSettings: Sendable {
    /// May originate mail: signed, not judged.
    public var networks: [Network]
    /// Backup MX and filters: neither signed nor judged.
    public var relays: [Network]
    /// `{daemon_name}`s whose mail passes.
    public var passthrough: [String]

    public init(networks: [Network], relays: [Network] = [], passthrough: [String] = []) {
        self.networks = networks
        self.relays = relays
        self.passthrough = passthrough
    }
}

public enum MailOrigin: String, Hashable, Sendable {
    /// Written here: a login, one of our networks, sendmail(1), or a service that is named ORIGINATING.
    case ours
    /// From a backup MX or filter of ours; another host of ours has judged it.
    case relay
    /// Through a service whose mail passes (`host.passthrough`).
    case passthrough
    /// From loopback and with a Received field: somebody's mail that a content filter brought back.
    case reinjected
    /// Everybody else's: to be judged.
    case stranger

    /// - Parameter hasReceived: whether the message came with a Received field; Postfix's own is hidden from filters.
    public init(session: SMTPSession, envelope: Envelope, hasReceived: Bool, settings: OriginSettings) {
        let address = session.client.address
        if let name = session.daemonName, settings.passthrough.contains(name) {
            self = .passthrough
        } else if let address, settings.relays.contain(address) {
            self = .relay
        } else if envelope.login != nil || session.daemonName == Self.originating {
            self = .ours
        } else if let address, address.isLoopback {
            // A client of a content filter, a stranger in truth, comes from loopback too. sendmail(1) is simulated as
            // a loopback client with port 0 (POSTFIX.md 16) and is ours even where host.networks leaves loopback out.
            let isLocal = session.client.port == 0 || settings.networks.contain(address)
            self = hasReceived ? .reinjected : (isLocal ? .ours : .stranger)
        } else if let address, settings.networks.contain(address) {
            self = .ours
        } else {
            self = .stranger
        }
    }

    /// What a log line says of mail that passes because of it.
    public var passText: String {
        switch self {
        case .ours: "ours, not judged"
        case .relay: "from a relay of ours"
        case .passthrough: "through a service in host.passthrough"
        case .reinjected: "brought back through loopback, not written here"
        case .stranger: "a stranger's, not judged"
        }
    }

    /// The name that submission services carry by convention (`milter_macro_daemon_name=ORIGINATING`).
    public static let originating = "ORIGINATING"
}
