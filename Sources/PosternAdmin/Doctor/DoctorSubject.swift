// Everything the doctor's judges look at, and the words they share: which daemons this host uses, what a service of
// Postfix's is for, whose socket a milter or policy service is. Judges are pure functions of this value.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

/// A socket that Postfix dials.
struct DialledSocket: Hashable, Sendable {
    let spelling: String
    let isChrooted: Bool
}

struct DoctorSubject: Sendable {
    let postfix: PostfixView
    let configuration: Configuration
    var machine = DoctorMachine()
    /// What a line must say behind `postern`'s subcommand to read the same configuration: ` --config /etc/p.toml`.
    var configOption = ""

    var edit: PostfixEdit { PostfixEdit(folder: postfix.folder) }

    /// What a service of Postfix's is for.
    enum Role: Hashable, Sendable {
        /// Strangers reach it.
        case mx
        /// Users send through it.
        case submission
        /// A content filter's way back.
        case reinjection
    }

    /// All of smtpd(8), with what they are for.
    var servers: [(service: PostfixService, role: Role)] {
        postfix.services(of: "smtpd").map { ($0, role(of: $0)) }
    }

    private static let submissionNames: Set<String> = ["submission", "submissions", "smtps", "587", "465"]

    private func role(of service: PostfixService) -> Role {
        let (host, port) = Self.hostAndPort(service.name)
        if Self.submissionNames.contains(port) { return .submission }
        // A name from main.cf tells nothing about one service.
        let daemonName = service.overrides["milter_macro_daemon_name"]
        let isForAll = service.type != "inet" || port == "smtp" || port == "25"
        if let daemonName, !isForAll {
            if configuration.host.passthrough.contains(daemonName) { return .reinjection }
            if daemonName == MailOrigin.originating { return .submission }
        }
        // SMTPD_PROXY_README, FILTER_README: the way back has no filter of its own.
        let isWayBack = service.overrides["content_filter"] == "" || service.overrides["smtpd_proxy_filter"] == ""
        let isLocal = host.map { $0 == "localhost" || IPAddress($0)?.isLoopback == true } ?? false
        return isWayBack && isLocal && hasContentFilter ? .reinjection : .mx
    }

    /// `127.0.0.1:10025`, `[::1]:25`, `smtp`.
    static func hostAndPort(_ name: String) -> (host: String?, port: String) {
        guard let colon = name.lastIndex(of: ":") else { return (nil, name) }
        let host = name[..<colon]
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? host.dropFirst().dropLast() : host
        return (String(bare), String(name[name.index(after: colon)...]))
    }

    /// Mail leaves Postfix to be looked at and comes back.
    var hasContentFilter: Bool {
        let all: [PostfixService?] = [nil] + postfix.services
        return all.contains { service in
            ["content_filter", "smtpd_proxy_filter"].contains { !postfix.value($0, service).isEmpty }
        }
    }

    /// The way to what cleanup(8) does with mail that did not come by SMTP.
    var cleanup: PostfixService? { postfix.services(of: "cleanup").first }

    // MARK: Whose socket

    /// Where a daemon of ours listens for Postfix.
    func endpoint(of daemon: DaemonName) -> Endpoint? {
        switch daemon {
        case .dkim: configuration.listen.dkim
        case .dmarc: configuration.listen.dmarc
        case .policy: configuration.listen.policy
        case .rate: configuration.listen.rate
        case .dns: nil
        }
    }

    /// The daemon behind a spelling of Postfix's: by where it leads, else by a name that can only be meant for it.
    func owner(of spelling: String, isChrooted: Bool) -> (daemon: DaemonName, leadsThere: Bool)? {
        guard let dialled = PostfixEndpoint(spelling) else { return nil }
        let daemons: [DaemonName] = [.dkim, .dmarc, .policy, .rate]
        for daemon in daemons where leads(dialled, to: daemon, isChrooted: isChrooted) { return (daemon, true) }
        guard case .unix(let path) = dialled else { return nil }
        let parts = path.split(separator: "/").suffix(2)
        for daemon in daemons {
            let short = daemon.rawValue.dropFirst("postern-".count)
            if parts.elementsEqual(["postern", "\(short).sock"]) || parts.last == "postern-\(short).sock" {
                return (daemon, false)
            }
            if case .unix(let own)? = endpoint(of: daemon), own == path { return (daemon, false) }
        }
        return nil
    }

    private func leads(_ dialled: PostfixEndpoint, to daemon: DaemonName, isChrooted: Bool) -> Bool {
        switch (dialled, endpoint(of: daemon)) {
        case (.unix(let path), .unix(let own)?):
            let real =
                path.hasPrefix("/") && !isChrooted ? path : Self.joined(postfix.queueFolder, path)
            return Self.parts(real) == Self.parts(own)
        case (.tcp(let host, let port), .tcp(let ownHost, let ownPort)?):
            return port == ownPort && Self.address(host) == Self.address(ownHost)
        default: return false
        }
    }

    private static func joined(_ folder: String, _ path: String) -> String { "\(folder)/\(path)" }
    private static func parts(_ path: String) -> [Substring] { path.split(separator: "/").filter { $0 != "." } }
    private static func address(_ host: String) -> String {
        host == "localhost" ? "127.0.0.1" : IPAddress(host).map { "\($0)" } ?? host.lowercased()
    }

    /// How Postfix's processes must spell a daemon's socket.
    /// - Returns: nil where a chrooted process cannot get there at all.
    func spelling(of daemon: DaemonName, isChrooted: Bool) -> String? {
        switch endpoint(of: daemon) {
        case .unix(let path)?:
            let queue = Self.parts(postfix.queueFolder)
            let parts = Self.parts(path)
            if parts.starts(with: queue), parts.count > queue.count {
                return "unix:\(parts.dropFirst(queue.count).joined(separator: "/"))"
            }
            return isChrooted ? nil : "unix:\(path)"
        case .tcp(let host, let port)?:
            return "inet:\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .udp?, nil: return nil
        }
    }

    // MARK: Which daemons this host uses

    /// Whether a daemon is meant to work here: it runs, has something to do, or Postfix asks for it.
    func uses(_ daemon: DaemonName) -> Bool {
        if machine.running.contains(daemon) || dialled.contains(where: { $0.daemon == daemon }) { return true }
        return daemon == .dns || hasWork(daemon)
    }

    /// The configuration gives a daemon something to do that it does not do by itself.
    func hasWork(_ daemon: DaemonName) -> Bool {
        switch daemon {
        case .dns, .dmarc: false
        case .dkim: signs
        case .policy:
            !configuration.rules.isEmpty || !configuration.dnsbl.lists.isEmpty || configuration.mayGreylist
        case .rate: !configuration.limits.isEmpty
        }
    }

    /// Mail of ours is to be signed.
    var signs: Bool { !configuration.dkim.entries.isEmpty }

    /// A daemon of ours that Postfix dials, and from where.
    struct Dialled: Hashable, Sendable {
        let daemon: DaemonName
        let leadsThere: Bool
        let socket: DialledSocket
        let service: PostfixService?
        let parameter: String
    }

    /// All of our daemons that Postfix asks, by every parameter of every service.
    var dialled: [Dialled] {
        var found: [Dialled] = []
        func note(_ spelling: String, _ service: PostfixService?, _ parameter: String) {
            let isChrooted = service?.isChrooted ?? false
            guard let owner = owner(of: spelling, isChrooted: isChrooted) else { return }
            found.append(
                Dialled(
                    daemon: owner.daemon, leadsThere: owner.leadsThere,
                    socket: DialledSocket(spelling: spelling, isChrooted: isChrooted), service: service,
                    parameter: parameter))
        }
        for (service, _) in servers {
            for server in milters("smtpd_milters", service) ?? [] {
                note(server.endpoint, service, "smtpd_milters")
            }
            for parameter in Self.restrictionParameters {
                for server in policyServices(parameter, service) { note(server.endpoint, service, parameter) }
            }
        }
        for server in milters("non_smtpd_milters", cleanup) ?? [] {
            note(server.endpoint, cleanup, "non_smtpd_milters")
        }
        return found
    }

    // MARK: Lists

    /// The milters of a list.
    /// - Returns: nil for a list that Postfix cannot read.
    func milters(_ parameter: String, _ service: PostfixService?) -> [PostfixServer]? {
        guard let words = PostfixWords.split(postfix.value(parameter, service)) else { return nil }
        var servers: [PostfixServer] = []
        for word in words {
            guard let server = PostfixServer(word: word) else { return nil }
            servers.append(server)
        }
        return servers
    }

    /// Lists of smtpd's, in the order in which they are gone through.
    static let restrictionParameters = [
        "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions",
        "smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions",
    ]

    /// The policy services that a list asks, those of restriction classes that it names too.
    func policyServices(_ parameter: String, _ service: PostfixService?) -> [PostfixServer] {
        RestrictionList(postfix.value(parameter, service), in: postfix)?.items.compactMap(\.policyService) ?? []
    }

    /// A daemon of ours is asked by a service: in one of its lists, or in a restriction class, which tables may name.
    func asksAnywhere(_ daemon: DaemonName, _ service: PostfixService) -> Bool {
        let classes = PostfixWords.split(postfix.value("smtpd_restriction_classes", service)) ?? []
        return (Self.restrictionParameters + classes).contains { asks(daemon, $0, service) }
    }

    /// A daemon of ours is asked in a list.
    func asks(_ daemon: DaemonName, _ parameter: String, _ service: PostfixService) -> Bool {
        policyServices(parameter, service).contains {
            owner(of: $0.endpoint, isChrooted: service.isChrooted)?.daemon == daemon
        }
    }
}
