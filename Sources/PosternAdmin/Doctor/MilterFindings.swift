// What is wrong with how milters are attached (MILTER_README). The macros of main.cf (milter_…_macros) are not looked
// at: our daemons ask for what they read (SMFIF_SETSYMLIST), which comes before main.cf.

internal import PosternDaemon
internal import PosternMail

enum MilterFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        let wiring = MilterWiring(subject: subject)
        var findings: [DoctorFinding] = []
        for place in wiring.places {
            guard let servers = subject.milters(place.parameter, place.service) else {
                findings.append(syntax(place, wiring))
                continue
            }
            let ours = servers.compactMap { server in
                wiring.daemon(of: server, at: place).map { (daemon: $0, server: server) }
            }
            findings += missing(place, ours.map(\.daemon), wiring)
            findings += order(place, ours.map(\.daemon), wiring)
            for (daemon, server) in ours where wiring.wanted(at: place).contains(daemon) {
                findings += defaultAction(place, daemon, server, wiring)
                findings += timeouts(place, daemon, server, wiring)
                findings += protocolVersion(place, daemon, server, wiring)
            }
            findings += peers(place, servers, ours.map(\.daemon), wiring)
            if place.purpose != .local { findings += bypassed(place, ours.map(\.daemon), wiring) }
        }
        return findings + verification(wiring) + headerChecks(wiring)
    }

    // MARK: Which, and in which order

    private static func missing(_ place: MilterWiring.Place, _ found: [DaemonName], _ wiring: MilterWiring)
        -> [DoctorFinding]
    {
        let signs = wiring.subject.signs
        return wiring.wanted(at: place).filter { !found.contains($0) }.compactMap { daemon in
            let why: String
            switch (daemon, place.purpose) {
            case (.dkim, .mx):
                why =
                    signs
                    ? "mail of host.networks leaves unsigned, and forged Authentication-Results stay in strangers' mail"
                    : "forged Authentication-Results stay in strangers' mail"
            case (.dkim, .submission), (.dkim, .local):
                guard signs else { return nil }
                why =
                    place.purpose == .local
                    ? "what sendmail(1), cron and lists send leaves unsigned; unsigned mail under p=reject is lost mail"
                    : "what users send leaves unsigned; unsigned mail under p=reject is lost mail"
            default: why = "strangers' mail is not judged by SPF, DKIM and DMARC"
            }
            return DoctorFinding(
                .milterMissing, daemon == .dkim && !signs ? .warning : .error, at: [place.name],
                "\(daemon.rawValue) is not in \(place.parameter)", why: why, mends: [wiring.mend(place)])
        }
    }

    private static func order(_ place: MilterWiring.Place, _ found: [DaemonName], _ wiring: MilterWiring)
        -> [DoctorFinding]
    {
        var findings: [DoctorFinding] = []
        if place.purpose == .mx, let dkim = found.firstIndex(of: .dkim), let dmarc = found.firstIndex(of: .dmarc),
            dmarc < dkim
        {
            findings.append(
                DoctorFinding(
                    .milterOrder, .error, at: [place.name],
                    "postern-dmarc stands before postern-dkim in \(place.parameter)",
                    why: "postern-dkim removes the results that postern-dmarc has just added, as it removes every "
                        + "Authentication-Results field that claims to be ours",
                    mends: [wiring.mend(place)]))
        }
        if Set(found).count < found.count {
            findings.append(
                DoctorFinding(
                    .milterOrder, .error, at: [place.name], "a milter of ours stands twice in \(place.parameter)",
                    why: "mail is signed and judged twice, and the second removes the results of the first",
                    mends: [wiring.mend(place)]))
        }
        if place.purpose != .mx, found.contains(.dmarc) {
            findings.append(
                DoctorFinding(
                    .milterNeedless, .note, at: [place.name],
                    "postern-dmarc is in \(place.parameter), where only mail of ours passes",
                    why: "it judges nobody's mail but strangers', and costs time here", mends: [wiring.mend(place)]))
        }
        return findings
    }

    // MARK: Settings of one milter

    private static func defaultAction(
        _ place: MilterWiring.Place, _ daemon: DaemonName, _ server: PostfixServer, _ wiring: MilterWiring
    ) -> [DoctorFinding] {
        let action = wiring.action(of: server, at: place)
        guard !wiring.isRight(action, at: place) else { return [] }
        let why =
            switch (place.purpose, action) {
            case (.mx, "tempfail"): "while \(daemon.rawValue) is down, all strangers' mail is deferred"
            case (.mx, "shutdown"): "while \(daemon.rawValue) is down, every client is disconnected"
            case (_, "accept"):
                "while \(daemon.rawValue) is down, mail of ours leaves unsigned; under p=reject that is lost mail"
            case (_, "quarantine"):
                "while \(daemon.rawValue) is down, all mail goes to the hold queue, where nobody looks"
            default: "while \(daemon.rawValue) is down, all mail is refused for good, for a fault of ours"
            }
        let source = server["default_action"] == nil ? "milter_default_action" : "its default_action"
        return [
            DoctorFinding(
                .milterDefaultAction, .error, at: [place.name],
                "\(source) is \(action) for \(daemon.rawValue) in \(place.parameter)", why: why,
                mends: [wiring.mend(place)])
        ]
    }

    private static func timeouts(
        _ place: MilterWiring.Place, _ daemon: DaemonName, _ server: PostfixServer, _ wiring: MilterWiring
    ) -> [DoctorFinding] {
        ["command_timeout", "content_timeout"].compactMap { name in
            let seconds = wiring.seconds(name, server, place)
            guard seconds ?? 0 < MilterWiring.minTimeout else { return nil }
            let shown = seconds.map { "\($0) s" } ?? "no time"
            let isOwn = server[name] != nil
            return DoctorFinding(
                .milterTimeout, .warning, at: [place.name],
                isOwn
                    ? "\(name) is \(shown) for \(daemon.rawValue) in \(place.parameter)" : "milter_\(name) is \(shown)",
                why: "a verdict may wait 23 s for DNS; Postfix gives up before, and then does what default_action says",
                mends: [
                    isOwn ? wiring.mend(place) : wiring.subject.edit.reset("milter_\(name)", for: place.service)
                ])
        }
    }

    private static func protocolVersion(
        _ place: MilterWiring.Place, _ daemon: DaemonName, _ server: PostfixServer, _ wiring: MilterWiring
    ) -> [DoctorFinding] {
        let stated = server["protocol"]
        let value = stated ?? wiring.subject.postfix.value("milter_protocol", place.service)
        let words = PostfixWords.split(value) ?? []
        // Source: postconf(5), milter_protocol: a version, and no_header_reply for what cannot do without.
        guard words.first != "6" || words.dropFirst().contains(where: { $0 != "no_header_reply" }) else { return [] }
        let edit = wiring.subject.edit
        return [
            DoctorFinding(
                .milterProtocol, .error, at: [place.name],
                "\(stated == nil ? "milter_protocol" : "protocol") is \(value) for \(daemon.rawValue)",
                why:
                    "\(daemon.rawValue) needs version 6 (Postfix's default): it refuses to talk with less, "
                    + "since headers would reach it altered",
                mends: [stated == nil ? edit.reset("milter_protocol", for: place.service) : wiring.mend(place)])
        ]
    }

    // MARK: What keeps mail from them

    private static func bypassed(_ place: MilterWiring.Place, _ found: [DaemonName], _ wiring: MilterWiring)
        -> [DoctorFinding]
    {
        guard let service = place.service, !found.isEmpty else { return [] }
        let (postfix, edit) = (wiring.subject.postfix, wiring.subject.edit)
        var findings: [DoctorFinding] = []
        let options = PostfixWords.split(postfix.value("receive_override_options", service)) ?? []
        if options.contains("no_milters") {
            let rest = options.filter { $0 != "no_milters" }.joined(separator: ", ")
            findings.append(
                DoctorFinding(
                    .milterBypassed, .error, at: [place.name], "receive_override_options says no_milters",
                    why: "no mail is signed or judged here, whatever smtpd_milters says",
                    mends: [edit.set("receive_override_options", rest, for: service)]))
        }
        if !postfix.value("smtpd_proxy_filter", service).isEmpty {
            findings.append(
                DoctorFinding(
                    .milterBypassed, .error, at: [place.name], "smtpd_proxy_filter stands before our milters",
                    why: "milters see the envelope only; header and body go to the filter and come back elsewhere "
                        + "(SMTPD_PROXY_README)",
                    mends: [
                        .advice(
                            "attach the milters to the service that the filter gives mail back to, or use "
                                + "content_filter"
                        )
                    ]))
        }
        if !postfix.value("smtpd_milter_maps", service).isEmpty {
            findings.append(
                DoctorFinding(
                    .milterBypassed, .note, at: [place.name],
                    "smtpd_milter_maps gives some clients other milters, or none",
                    why: "their mail may pass unsigned and unjudged", mends: [.advice("look whether that is meant")]))
        }
        return findings
    }

    private static func peers(
        _ place: MilterWiring.Place, _ servers: [PostfixServer], _ found: [DaemonName], _ wiring: MilterWiring
    ) -> [DoctorFinding] {
        servers.compactMap { server in
            guard let peer = MilterPeers.milter(server) else { return nil }
            // Where ours is missing, that is the finding, and the same line mends both.
            let isWanted = wiring.wanted(at: place).contains(peer.daemon)
            guard found.contains(peer.daemon) || (!isWanted && wiring.subject.uses(peer.daemon)) else { return nil }
            return DoctorFinding(
                .peerStillAsked, .warning, at: [place.name],
                "\(peer.name) (\(server.endpoint)) is still in \(place.parameter), and \(peer.daemon.rawValue) does "
                    + "its work",
                why: "mail is signed or judged twice, and each removes or contradicts the results of the other",
                mends: [wiring.mend(place)])
        }
    }

    private static func syntax(_ place: MilterWiring.Place, _ wiring: MilterWiring) -> DoctorFinding {
        DoctorFinding(
            .milterSyntax, .error, at: [place.name], "\(place.parameter) cannot be read: braces do not match",
            why: "Postfix refuses to work with it",
            mends: wiring.wanted(at: place).isEmpty ? [.advice("mend the braces")] : [wiring.mend(place)])
    }

    // MARK: The host as a whole

    /// Who verifies DKIM: one of the two, and not both.
    private static func verification(_ wiring: MilterWiring) -> [DoctorFinding] {
        let verify = wiring.subject.configuration.dkim.verify
        var twice: [String] = []
        var never: [String] = []
        for place in wiring.places where place.purpose == .mx {
            let servers = wiring.subject.milters(place.parameter, place.service) ?? []
            let found = Set(servers.compactMap { wiring.daemon(of: $0, at: place) })
            if verify, found.isSuperset(of: [.dkim, .dmarc]) { twice.append(place.name) }
            // Where postern-dmarc is used and missing, that is the finding.
            if !verify, found == [.dkim], !wiring.subject.uses(.dmarc) { never.append(place.name) }
        }
        var findings: [DoctorFinding] = []
        if !twice.isEmpty {
            findings.append(
                DoctorFinding(
                    .verifiedTwice, .warning, at: twice, "postern-dkim verifies although postern-dmarc does",
                    why: "every signature is verified twice, at twice the cost, for the same result",
                    mends: [.configuration("[dkim]\nverify = false")]))
        }
        if !never.isEmpty {
            findings.append(
                DoctorFinding(
                    .verifiedNever, .warning, at: never, "dkim.verify is false and postern-dmarc is not attached",
                    why: "nobody verifies strangers' signatures", mends: [.configuration("[dkim]\nverify = true")]))
        }
        return findings
    }

    private static func headerChecks(_ wiring: MilterWiring) -> [DoctorFinding] {
        let value = wiring.subject.postfix.value("milter_header_checks", wiring.subject.cleanup)
        guard !value.isEmpty else { return [] }
        return [
            DoctorFinding(
                .milterHeaderChecks, .note, at: ["milter_header_checks"],
                "milter_header_checks (\(value)) looks at every field that milters add",
                why: "it can drop or change DKIM-Signature and Authentication-Results",
                mends: [.advice("look whether its patterns match DKIM-Signature, Authentication-Results or Postern-…")])
        ]
    }
}
