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
    static func differences(_ members: [FleetStore.Member]) -> [FleetDifference] {
        let hosts = members.compactMap(\.document)
        let silent = members.filter { $0.document == nil }.map { member in
            FleetDifference(
                severity: .warning, subject: "host", values: [.init(host: member.name, text: nil)],
                why:
                    "not heard of for \(StatusCommand.uptime(member.age)); is it down, or does its postern-fleet.timer not run?"
            )
        }
        let daemons = hosts.flatMap { host in
            host.daemons.filter { !$0.isWell }.map { daemon in
                FleetDifference(
                    severity: .warning, subject: daemon.name,
                    values: [.init(host: host.name, text: daemon.trouble ?? "does not run")], why: "")
            }
        }
        guard hosts.count > 1 else { return silent + daemons }
        return silent + daemons + identity(hosts) + keys(hosts) + settings(hosts)
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
        if let difference = difference(.warning, "version", hosts, { $0.version }, why: "") { found.append(difference) }
        return found
    }

    // MARK: Keys

    private static func keys(_ hosts: [HostDocument]) -> [FleetDifference] {
        let names = Set(hosts.flatMap { $0.keys.map(\.name) }).sorted()
        var found: [FleetDifference] = []
        for name in names {
            let values = hosts.map { host in host.keys.first { $0.name == name } }
            let digests = Set(values.compactMap { $0?.digest })
            let domain = values.compactMap { $0?.domain }.first ?? ""
            let unsigned = hosts.contains { host in !host.keys.contains { $0.domain == domain } }
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
                            ? "mail of \(domain) leaves a host without it unsigned" : "another key signs there"))
            } else if values.contains(where: { $0?.digest == nil }) {
                found.append(key(.error, name, hosts, values, why: "a host cannot read its key's file"))
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
        return paths.compactMap { path in difference(.warning, path, hosts, { $0.settings[path] }, why: "") }
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
