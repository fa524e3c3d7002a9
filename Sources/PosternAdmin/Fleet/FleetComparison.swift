// What differs between the hosts of a fleet, and what of it breaks mail: a selector with two keys is published for one of
// them only; results signed in two names are believed by nobody, or taken for forged by the other host.

struct FleetDifference: Hashable, Sendable {
    enum Severity: String, Sendable {
        case error
        case warning
    }

    let severity: Severity
    /// `authserv_id`, `key`, `greylist.delay`.
    let subject: String
    /// What each host has, by host; nil where it has nothing.
    let values: [Value]
    /// Why it matters; empty where the subject says it.
    let why: String

    struct Value: Hashable, Sendable {
        let host: String
        let text: String?
    }
}

enum FleetComparison {
    /// A clock that is further from the store's than this, in seconds: more than telling takes. What is counted while the
    /// store is away is merged by each host's own clock.
    static let maxClockDifference: UInt64 = 5

    static func differences(_ members: [FleetStore.Member]) -> [FleetDifference] {
        let hosts = members.compactMap(\.document)
        let silent = members.filter { $0.document == nil }.map { member in
            FleetDifference(
                severity: .warning, subject: "host", values: [.init(host: member.name, text: nil)],
                why: member.isDamaged
                    ? "what the store has of it is not a document of Postern's; who else writes there?"
                    : "not heard of for \(StatusCommand.uptime(member.age)); is it down, or does its "
                        + "postern-fleet.timer not run?")
        }
        let clocks = members.compactMap { member -> FleetDifference? in
            guard let ahead = member.clockAhead, ahead.magnitude > maxClockDifference else { return nil }
            let text = "\(StatusCommand.uptime(Int64(clamping: ahead.magnitude))) \(ahead > 0 ? "ahead" : "behind")"
            return FleetDifference(
                severity: .warning, subject: "clock", values: [.init(host: member.name, text: text)],
                why: "it is far from the store's; hosts of a fleet need NTP")
        }
        let daemons = hosts.flatMap { host in
            host.daemons.filter { !$0.isWell }.map { daemon in
                FleetDifference(
                    severity: .warning, subject: daemon.name,
                    values: [.init(host: host.name, text: daemon.trouble ?? "does not run")], why: "")
            }
        }
        guard hosts.count > 1 else { return silent + clocks + daemons }
        return silent + clocks + daemons + identity(hosts) + keys(hosts) + settings(hosts)
    }

    // MARK: Who they are

    private static func identity(_ hosts: [HostDocument]) -> [FleetDifference] {
        var found: [FleetDifference] = []
        if let difference = difference(
            .error, "host.authserv_id", hosts, { $0.authservID },
            why: "a fleet's results must be signed with one name, which every host removes from strangers' mail")
        {
            found.append(difference)
        } else {
            // One's own name is among them by default, and is no difference.
            let names = Set(hosts.map { $0.name.lowercased() })
            let strip = difference(
                .warning, "host.strip_authserv_ids", hosts,
                { host in Set(host.stripAuthservIDs).subtracting(names).sorted().joined(separator: ", ") },
                why: "what one host removes as forged passes the other")
            if let strip { found.append(strip) }
        }
        if let difference = difference(
            .warning, "version", hosts, { $0.version }, why: "settings that one of them does not know are not compared")
        {
            found.append(difference)
        }
        return found
    }

    // MARK: Keys

    private static func keys(_ hosts: [HostDocument]) -> [FleetDifference] {
        let names = Set(hosts.flatMap { $0.keys.map(\.name) }).sorted()
        let keysByName = hosts.map {
            Dictionary($0.keys.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        }
        let domains = hosts.map { Set($0.keys.map(\.domain)) }
        var found: [FleetDifference] = []
        for name in names {
            let values = keysByName.map { $0[name] }
            let digests = Set(values.compactMap { $0?.digest })
            let domain = values.compactMap { $0?.domain }.first ?? ""
            let unsigned = domains.contains { !$0.contains(domain) }
            let signs = Set(values.compactMap { $0?.signs })
            if digests.count > 1 {
                found.append(
                    key(
                        .error, name, hosts, values, why: "DNS can publish one of them only: what the others sign fails"
                    ))
            } else if values.contains(where: { $0 == nil }) {
                found.append(
                    key(
                        unsigned ? .error : .warning, name, hosts, values,
                        why: unsigned
                            ? "mail of \(domain) leaves a host without it unsigned"
                            : "another key signs there, whose record must stay until this one is on every host: copy it, "
                                + "and run postern reload dkim"))
            } else if values.contains(where: { $0?.digest == nil }) {
                found.append(key(.error, name, hosts, values, why: "a host cannot read its key's file"))
            } else if signs.count > 1 {
                // Hosts look whether DNS has a new key at times of their own, minutes apart.
                found.append(
                    FleetDifference(
                        severity: .warning, subject: name,
                        values: zip(hosts, values).map { host, key in
                            .init(
                                host: host.name, text: key?.signs.map { $0 ? "signs" : "does not sign" } ?? "not known")
                        }, why: "its record must stay as long as any host signs with it"))
            }
        }
        return found
    }

    private static func key(
        _ severity: FleetDifference.Severity, _ name: String, _ hosts: [HostDocument], _ values: [HostDocument.Key?],
        why: String
    ) -> FleetDifference {
        FleetDifference(
            severity: severity, subject: name,
            values: zip(hosts, values).map { host, key in
                .init(host: host.name, text: key.map { $0.digest.map { "SHA-256 \($0)…" } ?? "unreadable" })
            }, why: why)
    }

    // MARK: Settings

    private static func settings(_ hosts: [HostDocument]) -> [FleetDifference] {
        let paths = Set(hosts.flatMap(\.settings.keys)).sorted()
        let isOneRelease = Set(hosts.map(\.version)).count == 1
        return paths.compactMap { path in
            // A key that only a newer release knows; a rule or a list more is a difference in any.
            let known = isOneRelease || path.contains("[") ? hosts : hosts.filter { $0.settings[path] != nil }
            return difference(.warning, path, known, { $0.settings[path] }, why: "")
        }
    }

    private static func difference(
        _ severity: FleetDifference.Severity, _ subject: String, _ hosts: [HostDocument],
        _ value: (HostDocument) -> String?, why: String
    ) -> FleetDifference? {
        let values = hosts.map { FleetDifference.Value(host: $0.name, text: value($0)) }
        guard Set(values.map(\.text)).count > 1 else { return nil }
        return FleetDifference(severity: severity, subject: subject, values: values, why: why)
    }
}
