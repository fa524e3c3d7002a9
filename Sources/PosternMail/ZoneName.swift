// Names of DNS list zones. Some begin with a query key (Spamhaus DQS, Abusix), which is the admin's secret: whatever is
// written of such a name, in problems, by `show`, in logs, statistics and control documents, goes through here first.
// A key is known by its length; one shorter than people's words would be shown.

/// The name of a zone, for people.
public enum ZoneName {
    /// Fewest octets of a label that is taken for a key: DQS keys have 26, labels that people choose are shorter.
    static let minKeyOctets = 20
    /// What stands for a key.
    static let keyText = "(key)"

    /// The zone's name with query keys as `(key)`.
    public static func redacted(_ zone: DomainName) -> String { redacted(zone.description) }

    /// The same for a text that may be no name.
    public static func redacted(_ text: String) -> String {
        text.split(separator: ".", omittingEmptySubsequences: false).map { label in
            label.utf8.count >= minKeyOctets ? keyText : String(label)
        }.joined(separator: ".")
    }
}

/// Hides query keys in names that are asked: those below zones that have a key.
public struct QueryKeys: Hashable, Sendable {
    /// Zones that hold a key, longest first.
    private let zones: [DomainName]

    /// Where all zones hold keys, whether they are configured or not.
    private static let keyedDomains = [
        ["dq", "spamhaus", "net"], ["mail", "abusix", "zone"],
    ].compactMap { try? DomainName(labels: $0.map { Array($0.utf8) }) }  // they are names

    /// - Parameter zones: those of the configuration, with and without keys.
    public init(zones: some Sequence<DomainName> = []) {
        self.zones = zones.filter { $0.labels.contains(where: Self.isKey) }.sorted { $0.wire.count > $1.wire.count }
    }

    private static func isKey(_ label: ArraySlice<UInt8>) -> Bool { label.count >= ZoneName.minKeyOctets }

    /// The name with `(key)` in place of each key.
    public func hidden(in name: DomainName) -> DomainName {
        // A key is the zone's own label; what is asked about stands before it and is no secret.
        guard let zone = zones.first(where: name.isEqualOrBelow) ?? Self.keyedDomains.first(where: name.isEqualOrBelow)
        else { return name }
        let labels = name.labels
        let isConfigured = zones.contains(zone)
        let own = isConfigured ? labels.count - zone.labelCount : 0
        let hidden = labels.enumerated().map { place, label in
            place >= own && Self.isKey(label) ? Array(ZoneName.keyText.utf8) : Array(label)
        }
        // No label is longer than it was: it is a name.
        return (try? DomainName(labels: hidden)) ?? .root
    }

    /// The same as text.
    public func text(_ name: DomainName) -> String {
        hidden(in: name).labels.map { label in
            label.elementsEqual(ZoneName.keyText.utf8)
                ? ZoneName.keyText : ((try? DomainName(labels: [label]))?.description ?? "")  // a label of a name
        }.joined(separator: ".")
    }
}
