// The names of zones as values of the configuration. Keys in them are hidden wherever they are written (`ZoneName`).

internal import PosternMail

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
