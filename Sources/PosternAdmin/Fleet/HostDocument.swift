// What one host of a fleet tells the others through the shared store: who it is, how its daemons are, which keys it signs
// with, and how it is set. Nothing secret: of keys the public half's digest, of long values a digest, query keys of DNS
// lists never. Read from the store it is a stranger's text: whoever can write there may have written anything.

internal import PosternDaemon

struct HostDocument: Hashable, Sendable {
    struct Key: Hashable, Sendable {
        let domain: String
        let selector: String
        /// SHA-256 of the public key's record, the first octets in hexadecimal; nil for a key that could not be read.
        let digest: String?
        /// Whether postern-dkim signs with it now; nil where it could not be asked, or an older release wrote this.
        var signs: Bool?

        var name: String { "\(selector)._domainkey.\(domain)" }
    }

    struct Health: Hashable, Sendable {
        let name: String
        let isRunning: Bool
        let version: String?
        /// Of its configuration, counted from its start.
        let generation: Int64?
        /// Why it could not be asked, or that a reload was refused.
        let trouble: String?

        var isWell: Bool { isRunning && trouble == nil }
    }

    let name: String
    let version: String
    /// When it was written, by the host's own clock, in seconds since 1970; nil from an older release.
    var clock: Int64?
    let authservID: String
    /// Sorted, in lower case.
    let stripAuthservIDs: [String]
    let keys: [Key]
    let daemons: [Health]
    /// What matters to a fleet, by key path, as text.
    let settings: [String: String]

    /// Most elements of each list that are read.
    private static let maxElements = 10_000
    /// Longest document that is written or read, in octets.
    static let maxOctets = 1 << 20
}

extension HostDocument {
    /// As it lies in the store.
    var document: ControlDocument {
        [
            "name": .text(name), "version": .text(version), "clock": clock.map(ControlDocument.number) ?? .null,
            "authserv_id": .text(authservID),
            "strip_authserv_ids": .list(stripAuthservIDs.map(ControlDocument.text)),
            "keys": .list(
                keys.map { key in
                    [
                        "domain": .text(key.domain), "selector": .text(key.selector),
                        "digest": key.digest.map(ControlDocument.text) ?? .null,
                        "signs": key.signs.map(ControlDocument.boolean) ?? .null,
                    ]
                }),
            "daemons": .list(
                daemons.map { daemon in
                    [
                        "name": .text(daemon.name), "running": .boolean(daemon.isRunning),
                        "version": daemon.version.map(ControlDocument.text) ?? .null,
                        "generation": daemon.generation.map(ControlDocument.number) ?? .null,
                        "trouble": daemon.trouble.map(ControlDocument.text) ?? .null,
                    ]
                }),
            "settings": .object(settings.sorted { $0.key < $1.key }.map { .init($0.key, .text($0.value)) }),
        ]
    }

    /// - Parameter name: as the store has it.
    /// - Returns: nil for what no host of ours wrote.
    init?(_ octets: [UInt8], of name: String) {
        guard octets.count <= Self.maxOctets, let document = try? ControlDocument(octets),  // its text helps nobody
            let version = document["version"]?.text, let authservID = document["authserv_id"]?.text
        else { return nil }
        func shown(_ text: String?) -> String? { text.map(DaemonControl.printable) }
        func elements(_ key: String) -> ArraySlice<ControlDocument> {
            (document[key]?.elements ?? []).prefix(Self.maxElements)
        }
        self.name = DaemonControl.printable(name)
        self.version = DaemonControl.printable(version)
        clock = document["clock"]?.number
        self.authservID = DaemonControl.printable(authservID)
        stripAuthservIDs = elements("strip_authserv_ids").compactMap { shown($0.text) }
        keys = elements("keys").compactMap { key in
            guard let domain = shown(key["domain"]?.text), let selector = shown(key["selector"]?.text) else {
                return nil
            }
            let signs: Bool? =
                switch key["signs"] {
                case .boolean(let signs)?: signs
                default: nil
                }
            return Key(domain: domain, selector: selector, digest: shown(key["digest"]?.text), signs: signs)
        }
        daemons = elements("daemons").compactMap { daemon in
            guard let name = shown(daemon["name"]?.text) else { return nil }
            return Health(
                name: name, isRunning: daemon["running"] == .boolean(true), version: shown(daemon["version"]?.text),
                generation: daemon["generation"]?.number, trouble: shown(daemon["trouble"]?.text))
        }
        settings = Dictionary(
            (document["settings"]?.members ?? []).prefix(Self.maxElements).compactMap { member in
                shown(member.value.text).map { (DaemonControl.printable(member.key), $0) }
            }, uniquingKeysWith: { first, _ in first })
    }
}
