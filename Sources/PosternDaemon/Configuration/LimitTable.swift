// `[[limit]]`: how much postern-rate lets a client, an account or a domain do in a time.

internal import PosternAdmission
internal import PosternMail

enum LimitTable {
    static let name = RequiredKey(
        "name", .text(.word("a name such as \"per account\"")), example: "per account",
        "What logs and the CLI call it; no two are called alike.")
    static let per = RequiredKey(
        "per", .set(of: .oneOf(LimitAttribute.self), atLeast: 1), example: [.saslUsername],
        "What amounts are kept for, alone or together: client, client_name, sasl_username, sender, sender_domain, "
            + "recipient, recipient_domain, helo, policy_context.")
    static let count = RequiredKey(
        "count", .oneOf(LimitCount.self), example: .recipients,
        "What is counted: \"connections\", \"messages\", \"recipients\" or \"octets\".")
    static let allow = RequiredKey(
        "allow", .oneOrMore(of: .rate, atMost: 8),
        example: [written(200, .seconds(3600)), written(20, .seconds(60))],
        "How much: \"200/1h\", for octets \"1GiB/1d\", or several. It is a promise: no hour holds more than 200.")
    static let action = RequiredKey(
        "action", .text(.limitAction), example: .example("defer 4.7.1 Too many recipients, slow down"),
        "What happens above: defer or reject with [CODE] [STATUS] TEXT, or hold TEXT.")
    static let ipv4Prefix = Key(
        "ipv4_prefix", .integer(in: 8...32), default: 32,
        "Length of the IPv4 networks that count as one client, for per = [\"client\"].")
    static let ipv6Prefix = Key("ipv6_prefix", .integer(in: 16...128), default: 64, "The same for IPv6.")
    static let clients = Key<[Network]?>(
        "clients", .list(of: .network, atLeast: 1, atMost: RuleTable.maxValues), example: [Example.network],
        "Clients that it holds for. Default: all.")
    static let users = Key<[MatchPattern]?>(
        "users", .list(of: .textCondition("a login"), atLeast: 1, atMost: RuleTable.maxValues),
        example: [.exact("ann"), .expression("@example\\.com$")],
        "Logins that it holds for, or \"/EXPRESSION/\". Default: all, and mail without a login.")
    static let except = Key(
        "except", .list(of: .anyCondition, atMost: RuleTable.maxValues), default: [],
        "Clients, logins, addresses and domains that it does not hold for.")
    static let warnAt = Key<Int?>(
        "warn_at", .text(.percentage), example: 80,
        "Write a warning when so much of it is used up. Default: only when it is.")
    static let block = Key(
        "block", .duration(in: .zero ... .seconds(31 * 86_400)), default: .zero,
        "How long one that went over is refused at least.")
    static let window = Key(
        "window", .oneOf(LimitWindow.self), default: .sliding,
        "\"sliding\" keeps the promise at any time; \"fixed\" counts as Postfix's anvil does.")
    static let shadow = Key("shadow", .boolean, default: false, "Only log and count what would be refused.")

    static let declaration = TableDeclaration(
        "limit", isArray: true, "A limit that postern-rate keeps; write this table once for each.",
        keys: [
            name, per, count, allow, action, ipv4Prefix, ipv6Prefix, clients, users, except, warnAt, block, window,
            shadow,
        ])

    private static func written(_ amount: Int, _ span: Duration) -> WrittenRate {
        WrittenRate(rate: AllowedRate(amount: amount, span: span), hasUnit: false)
    }
}

extension LimitSettings {
    /// All limits that are right, in their order; none where the files of limits are not opened.
    static func limits(_ tables: [TableValues], _ reader: inout ValueReader) -> [LimitSettings] {
        reportSharedNames(tables, LimitTable.name, &reader)
        let limits = tables.compactMap { LimitSettings($0, &reader) }
        return reader.opensFiles ? limits : []
    }

    private init?(_ values: TableValues, _ reader: inout ValueReader) {
        let rates = values[LimitTable.allow] ?? []
        Self.check(rates, of: values[LimitTable.count], values, &reader)
        guard let name = values[LimitTable.name], let per = values[LimitTable.per],
            let count = values[LimitTable.count], !rates.isEmpty, let action = values[LimitTable.action]?.action
        else { return nil }
        let clients = values[LimitTable.clients]
        let users = values[LimitTable.users]
        // What was not read must not read as "all".
        guard values.gives(LimitTable.clients) == (clients != nil), values.gives(LimitTable.users) == (users != nil)
        else { return nil }
        self.init(
            name: name, per: per, count: count, allow: rates.map(\.rate), action: action,
            ipv4Prefix: values[LimitTable.ipv4Prefix], ipv6Prefix: values[LimitTable.ipv6Prefix], clients: clients,
            users: users, except: values[LimitTable.except], warnAt: values[LimitTable.warnAt],
            block: values[LimitTable.block], window: values[LimitTable.window], shadow: values[LimitTable.shadow])
        LimitAdvice.give(on: self, values, &reader)
    }

    private static func check(
        _ rates: [WrittenRate], of count: LimitCount?, _ values: TableValues, _ reader: inout ValueReader
    ) {
        func report(_ text: String) {
            reader.report(text, at: values.position(of: LimitTable.allow), keyPath: "\(values.path).allow")
        }
        if let count, count != .octets, let rate = rates.first(where: \.hasUnit) {
            report("expected a plain number of \(count.rawValue), found \(quoted(TextType.rate.write(rate)))")
        }
        var shorter: WrittenRate?
        for rate in rates.sorted(by: { ($0.rate.span, $0.rate.amount) < ($1.rate.span, $1.rate.amount) }) {
            if let shorter, shorter.rate.span == rate.rate.span {
                report("expected each span of time once, found \"\(Quantity.duration(rate.rate.span))\" twice")
            } else if let shorter, shorter.rate.amount >= rate.rate.amount {
                report(
                    "expected less in a shorter time, found \(quoted(TextType.rate.write(shorter))), which "
                        + "\(quoted(TextType.rate.write(rate))) never lets be reached")
            }
            shorter = rate
        }
    }
}
