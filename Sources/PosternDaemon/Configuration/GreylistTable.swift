// `[greylist]`: whom postern-policy asks to come back later (RFC 6647).

internal import PosternAdmission

enum GreylistTable {
    private static let day = Duration.seconds(86_400)

    static let clients = Key(
        "clients", .oneOf(GreylistClients.self), default: .none,
        "Who waits at the first try: \"none\", \"suspicious\" (a score of suspicious_score or more) or \"all\".")
    static let suspiciousScore = Key(
        "suspicious_score", .integer(in: -1000...1000), default: 1, "The score of rules and lists that is suspicious.")
    static let delay = Key(
        "delay", .duration(in: .seconds(1)...day), default: .seconds(300), "How long a new client waits.")
    static let retryWithin = Key(
        "retry_within", .duration(in: .seconds(60)...day * 30), default: day * 2,
        "It must try again this soon after its first try, or begins anew.")
    static let remember = Key(
        "remember", .duration(in: .seconds(3600)...day * 3650), default: day * 35,
        "How long one that did is known since its last mail.")
    static let ipv4Prefix = Key(
        "ipv4_prefix", .integer(in: 8...32), default: 24, "Length of the IPv4 networks that count as one client.")
    static let ipv6Prefix = Key(
        "ipv6_prefix", .integer(in: 16...128), default: 64, "Length of the IPv6 networks that count as one client.")
    static let skipClients = Key(
        "skip_clients", .list(of: .clientCondition, atMost: RuleTable.maxValues), default: [],
        "Clients that never wait: networks, names, \"*.example.com\", \"/EXPRESSION/\".")
    static let skipSenders = Key(
        "skip_senders", .list(of: .mailboxCondition, atMost: RuleTable.maxValues), default: [],
        "Envelope senders that never wait: \"ann@example.com\", \"@example.com\", \"*.example.com\", "
            + "\"/EXPRESSION/\". Anyone can write them.")
    static let skipRecipients = Key(
        "skip_recipients", .list(of: .mailboxCondition, atMost: RuleTable.maxValues), default: [],
        "Recipients whose mail never waits.")
    static let shadow = Key("shadow", .boolean, default: false, "Only log and count what would be done.")

    static let declaration = TableDeclaration(
        "greylist", "Greylisting: postern-policy asks clients that it does not know to come back later (RFC 6647).",
        keys: [
            clients, suspiciousScore, delay, retryWithin, remember, ipv4Prefix, ipv6Prefix, skipClients, skipSenders,
            skipRecipients, shadow,
        ])
}

extension GreylistSettings {
    init(_ values: TableValues, _ reader: inout ValueReader) {
        self.init(
            clients: values[GreylistTable.clients], suspiciousScore: values[GreylistTable.suspiciousScore],
            delay: values[GreylistTable.delay], retryWithin: values[GreylistTable.retryWithin],
            remember: values[GreylistTable.remember], ipv4Prefix: values[GreylistTable.ipv4Prefix],
            ipv6Prefix: values[GreylistTable.ipv6Prefix], skipClients: values[GreylistTable.skipClients],
            skipSenders: values[GreylistTable.skipSenders], skipRecipients: values[GreylistTable.skipRecipients],
            shadow: values[GreylistTable.shadow])
        if retryWithin <= delay {
            let key: any KeyDeclaration =
                values.gives(GreylistTable.delay) ? GreylistTable.delay : GreylistTable.retryWithin
            reader.report(
                "expected delay to be shorter than retry_within, found \"\(Quantity.duration(delay))\" and "
                    + "\"\(Quantity.duration(retryWithin))\": nobody could come back in time",
                at: values.position(of: key), keyPath: "greylist.\(key.name)")
        }
    }
}
