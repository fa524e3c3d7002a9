// Whether Postfix and postern.toml agree on whose mail is ours: the names of services, and networks. A stranger who is
// taken for one of us gets our signature.

internal import PosternDaemon
internal import PosternMail

enum OriginFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] { names(subject) + networks(subject) }

    // MARK: {daemon_name}

    private static func names(_ subject: DoctorSubject) -> [DoctorFinding] {
        let parameter = "milter_macro_daemon_name"
        return subject.servers.compactMap { service, role in
            guard role == .mx else { return nil }
            let name = subject.postfix.value(parameter, service)
            let isOriginating = name == MailOrigin.originating
            guard isOriginating || subject.configuration.host.passthrough.contains(name) else { return nil }
            return DoctorFinding(
                .strangersAreOurs, .error, at: [service.place],
                "\(parameter) is \(name) where strangers reach Postfix",
                why: isOriginating
                    ? "everything that strangers send through it is taken for mail of ours: signed, and not judged"
                    : "host.passthrough names it: everything that strangers send through it passes unjudged",
                // In main.cf it holds for all services: those that need it say so themselves.
                mends: [subject.edit.reset(parameter, for: service)])
        }
    }

    // MARK: mynetworks

    private static func networks(_ subject: DoctorSubject) -> [DoctorFinding] {
        let host = subject.configuration.host
        guard let words = PostfixWords.split(subject.postfix.value("mynetworks")) else { return [] }
        var theirs: [Network] = []
        for word in words {
            // Tables and exclusions ("!…", "hash:…", "/FILE") are not looked into.
            guard let network = network(word) else { return [] }
            theirs.append(network)
        }
        let known = host.networks + host.relays
        let unknown = theirs.filter { network in !known.contains { $0.covers(network) } }
        let extra = host.networks.filter { network in !theirs.contains { $0.covers(network) } }
        func list(_ networks: [Network]) -> String { networks.map { "\($0)" }.joined(separator: ", ") }
        var findings: [DoctorFinding] = []
        if !unknown.isEmpty {
            let all = (host.networks + unknown).map { "\"\($0)\"" }.joined(separator: ", ")
            findings.append(
                DoctorFinding(
                    .networksDiffer, .warning, at: ["mynetworks"],
                    "mynetworks lets \(list(unknown)) relay, and host.networks and host.relays do not name it",
                    why: "what these clients send is not signed, and is judged as strangers' mail",
                    mends: [.configuration("[host]\nnetworks = [\(all)]")]))
        }
        if !extra.isEmpty, !extra.allSatisfy({ $0.base.isLoopback }) {
            let common = host.networks.filter { !extra.contains($0) || $0.base.isLoopback }
            let all = common.map { "\"\($0)\"" }.joined(separator: ", ")
            findings.append(
                DoctorFinding(
                    .networksDiffer, .warning, at: ["mynetworks"],
                    "host.networks names \(list(extra.filter { !$0.base.isLoopback })), which mynetworks does not let "
                        + "relay",
                    why:
                        "what these clients send to us is signed as ours and not judged, although Postfix does "
                        + "not trust them",
                    mends: [.configuration("[host]\nnetworks = [\(all)]")]))
        }
        return findings
    }

    /// What of `mynetworks` nobody compares.
    static func unread(_ subject: DoctorSubject) -> [String] {
        let words = PostfixWords.split(subject.postfix.value("mynetworks")) ?? []
        guard let other = words.first(where: { network($0) == nil }) else { return [] }
        return ["mynetworks against host.networks: \(other) is no network but a table, a file or an exclusion"]
    }

    /// `192.0.2.0/24`, `[2001:db8::]/32`, `[::1]`; mapped networks (::ffff:127.0.0.0/104) as IPv4.
    static func network(_ word: String) -> Network? {
        var text = word
        if let end = text.firstIndex(of: "]"), text.hasPrefix("[") {
            text = String(text[text.index(after: text.startIndex)..<end]) + text[text.index(after: end)...]
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, let address = IPAddress(first) else { return nil }
        let whole = if case .v4 = address { 32 } else { 128 }
        guard let length = parts.count == 1 ? whole : Int(parts.last ?? ""), (0...whole).contains(length) else {
            return nil
        }
        guard case .v6 = address, case .v4 = address.unmapped, length >= 96 else {
            return Network(containing: address, prefixLength: length)
        }
        return Network(containing: address.unmapped, prefixLength: length - 96)
    }
}

extension Network {
    /// Whether all of `other` is in it.
    func covers(_ other: Network) -> Bool {
        switch (base, other.base) {
        case (.v4, .v4), (.v6, .v6): prefixLength <= other.prefixLength && contains(other.base)
        default: false
        }
    }
}
