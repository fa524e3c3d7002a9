// How milters are to be attached, by what a service is for (contrib/postfix/main.cf and master.cf): which of ours, in
// which order, with which settings. All findings about one list propose the same line, so that applying one of them
// undoes none of the others. Milters of others keep their order and stand where they stood.

internal import PosternDaemon
internal import PosternMail

struct MilterWiring {
    let subject: DoctorSubject

    /// Seconds that Postfix must wait for an answer at least: the longest verdict (20 s and 3 s for the author's
    /// policy) and some time on a busy machine.
    static let minTimeout = 25
    /// What contrib/postfix says.
    private static let timeout = "30s"

    /// One list of milters.
    struct Place: Hashable, Sendable {
        enum Purpose: Hashable, Sendable {
            case mx, submission
            /// Mail that did not come by SMTP.
            case local
        }
        let purpose: Purpose
        let parameter: String
        let service: PostfixService?

        /// How findings name it.
        var name: String { service?.place ?? parameter }
    }

    /// All lists that mail of people goes through.
    var places: [Place] {
        let servers = subject.servers.compactMap { service, role -> Place? in
            switch role {
            case .mx: Place(purpose: .mx, parameter: "smtpd_milters", service: service)
            case .submission: Place(purpose: .submission, parameter: "smtpd_milters", service: service)
            case .reinjection: nil
            }
        }
        return servers + [Place(purpose: .local, parameter: "non_smtpd_milters", service: subject.cleanup)]
    }

    /// The milters of ours that belong there, in their order.
    func wanted(at place: Place) -> [DaemonName] {
        switch place.purpose {
        // postern-dmarc comes second: it replaces postern-dkim's results by its own.
        case .mx: [.dkim, .dmarc].filter(subject.uses)
        case .submission, .local: subject.uses(.dkim) ? [.dkim] : []
        }
    }

    /// What Postfix is to do while one of ours is down: strangers' mail flows, ours waits until it can be signed.
    func action(at place: Place) -> String { place.purpose != .mx && subject.signs ? "tempfail" : "accept" }

    func daemon(of server: PostfixServer, at place: Place) -> DaemonName? {
        subject.owner(of: server.endpoint, isChrooted: place.service?.isChrooted ?? false)?.daemon
    }

    // MARK: The list as it should be

    /// The line that gives a place its right list.
    func mend(_ place: Place) -> DoctorFinding.Mend {
        let value = mended(place).map(\.text).joined(separator: ", ")
        // A submission service needs other settings than main.cf's.
        return subject.edit.set(
            place.parameter, value,
            for: place.purpose == .local && place.service?.overrides[place.parameter] == nil
                ? nil : place.service, apart: place.purpose == .submission)
    }

    func mended(_ place: Place) -> [PostfixServer] {
        let servers = subject.milters(place.parameter, place.service) ?? []
        let wanted = wanted(at: place)
        let ours = wanted.map { daemon -> PostfixServer in
            right(servers.first { self.daemon(of: $0, at: place) == daemon }, daemon, at: place)
        }
        var result: [PostfixServer] = []
        var isPlaced = false
        for server in servers {
            if daemon(of: server, at: place) != nil {
                if !isPlaced { result += ours }
                isPlaced = true
            } else if MilterPeers.replacement(of: server).map(subject.uses) != true {
                result.append(server)
            }
        }
        // What signs comes last: nothing may alter what is signed.
        return isPlaced ? result : result + ours
    }

    /// One of ours with the settings that it needs; what the admin has set beside them stays.
    private func right(_ old: PostfixServer?, _ daemon: DaemonName, at place: Place) -> PostfixServer {
        let isChrooted = place.service?.isChrooted ?? false
        let spelling = subject.spelling(of: daemon, isChrooted: isChrooted)
        var server = old ?? PostfixServer(spelling ?? "unix:postern/\(daemon.rawValue.dropFirst(8)).sock")
        if let spelling, subject.owner(of: server.endpoint, isChrooted: isChrooted)?.leadsThere != true {
            server.endpoint = spelling
        }
        server["protocol"] = nil
        if !isRight(action(of: server, at: place), at: place) || server["default_action"] == nil {
            server["default_action"] = action(at: place)
        }
        if server["command_timeout"] == nil || seconds("command_timeout", server, place) ?? 0 < Self.minTimeout {
            server["command_timeout"] = Self.timeout
        }
        if seconds("content_timeout", server, place) ?? 0 < Self.minTimeout { server["content_timeout"] = "300s" }
        return server
    }

    // MARK: Settings in force

    func action(of server: PostfixServer, at place: Place) -> String {
        server["default_action"] ?? subject.postfix.value("milter_default_action", place.service)
    }

    /// Whether that is what should happen while one of ours is down.
    func isRight(_ action: String, at place: Place) -> Bool {
        switch place.purpose {
        case .mx: action == "accept"
        case .submission, .local: action == "tempfail" || action == "shutdown" || (action == "accept" && !subject.signs)
        }
    }

    /// `command_timeout` or `content_timeout` of one milter; nil where Postfix cannot read it.
    func seconds(_ name: String, _ server: PostfixServer, _ place: Place) -> Int? {
        server[name].map { PostfixWords.seconds($0) } ?? subject.postfix.seconds("milter_\(name)", place.service)
    }
}

/// Milters and policy services that Postern takes the place of, by how their packages name their sockets.
enum MilterPeers {
    private static let milters: [(mark: String, name: String, daemon: DaemonName)] = [
        ("opendkim", "OpenDKIM", .dkim), (":8891", "OpenDKIM", .dkim),
        ("opendmarc", "OpenDMARC", .dmarc), (":8893", "OpenDMARC", .dmarc),
    ]
    private static let services: [(mark: String, name: String, daemon: DaemonName)] = [
        ("postgrey", "postgrey", .policy), (":10023", "postgrey", .policy), (":60000", "postgrey", .policy),
        ("policyd-spf", "policyd-spf", .dmarc), ("policy-spf", "policyd-spf", .dmarc),
    ]

    /// The daemon of ours that does what this milter does.
    static func replacement(of server: PostfixServer) -> DaemonName? { milter(server)?.daemon }

    static func milter(_ server: PostfixServer) -> (name: String, daemon: DaemonName)? { find(server, milters) }
    static func policyService(_ server: PostfixServer) -> (name: String, daemon: DaemonName)? { find(server, services) }

    private static func find(
        _ server: PostfixServer, _ known: [(mark: String, name: String, daemon: DaemonName)]
    ) -> (name: String, daemon: DaemonName)? {
        known.first { entry in
            entry.mark.hasPrefix(":") ? server.endpoint.hasSuffix(entry.mark) : server.endpoint.contains(entry.mark)
        }.map { ($0.name, $0.daemon) }
    }
}
