// Names of DNS list zones. Some begin with a query key (Spamhaus DQS), which is the admin's secret: whatever is written
// of such a name, in problems, by `show` or in logs, goes through here first.

public import PosternMail

public enum ZoneName {
    /// Fewest octets of a label that is taken for a key: DQS keys have 26, labels that people choose are shorter.
    private static let minKeyOctets = 20

    /// The zone's name with query keys as `(key)`, for people.
    public static func redacted(_ name: DomainName) -> String { redacted(name.description) }

    /// The same for a text that may be no name.
    static func redacted(_ text: String) -> String {
        text.split(separator: ".", omittingEmptySubsequences: false).map { label in
            label.utf8.count >= minKeyOctets ? "(key)" : String(label)
        }.joined(separator: ".")
    }
}

extension TextType<DomainName> {
    /// A zone's name in A-labels; problems do not repeat keys.
    static let zone = TextType("a zone such as \"zen.spamhaus.org\"") { text throws(Unfit) in
        let name = try? DomainName(text)  // the expectation says more than which rule was broken
        guard let name, name.labelCount > 0 else {
            throw Unfit(expected: "a zone such as \"zen.spamhaus.org\"", found: ZoneName.redacted(text))
        }
        return name
    } write: {
        ZoneName.redacted($0)
    }

    /// A zone of lists, which lies below some registered name.
    static let listZone = TextType(zone.expectation) { text throws(Unfit) in
        let name = try zone.parse(text)
        guard name.isHostname(minLabels: 2) else {
            throw Unfit(expected: zone.expectation, found: ZoneName.redacted(text))
        }
        return name
    } write: {
        ZoneName.redacted($0)
    }
}
