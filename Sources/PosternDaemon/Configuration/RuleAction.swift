// What a rule or a limit does, read from one line of text: a word, and what the word needs. Source of what Postfix can
// be told: access(5), SMTPD_POLICY_README.

internal import PosternAdmission
internal import PosternMail

/// An action as it is written: with `shadow` before it, or the word `skip` instead.
struct WrittenAction: Hashable, Sendable {
    let text: String
    let action: RuleAction?
    let skip: Set<PolicyCheck>
    let isShadow: Bool
}

/// The words that actions begin with.
enum ActionWord: String, CaseIterable {
    case accept, reject, `defer`, hold, prepend, filter, redirect, bcc, score, greylist, skip, shadow

    /// What is meant by words of Postfix and of its other policy services.
    static let foreign = [
        "ok": "accept", "permit": "accept", "dunno": "accept", "pass": "accept", "defer_if_permit": "defer",
        "defer_if_reject": "defer", "tempfail": "defer", "deny": "reject", "drop": "reject", "discard": "reject",
    ]
}

extension TextType<WrittenAction> {
    /// What a rule may do.
    static let ruleAction = TextType("an action such as \"reject 5.7.1 Go away\"") { text throws(Unfit) in
        try WrittenAction(text, of: ActionWord.allCases)
    } write: {
        $0.text
    }

    /// What a limit may do.
    static let limitAction = TextType("an action such as \"defer 4.7.1 Slow down\"") { text throws(Unfit) in
        try WrittenAction(text, of: [.defer, .reject, .hold])
    } write: {
        $0.text
    }
}

extension WrittenAction {
    /// - Parameter words: what is allowed here.
    init(_ text: String, of words: [ActionWord]) throws(Unfit) {
        var rest = Self.pieces(text)
        var isShadow = false
        if rest.word == ActionWord.shadow.rawValue, words.contains(.shadow) {
            guard !rest.argument.isEmpty, Self.pieces(rest.argument).word != rest.word else {
                throw Unfit(expected: "an action after \"shadow\"", found: text)
            }
            isShadow = true
            rest = Self.pieces(rest.argument)
        }
        guard let word = ActionWord(rawValue: rest.word), words.contains(word) else {
            throw Self.unknown(rest.word, of: words)
        }
        let argument = rest.argument
        var skip: Set<PolicyCheck> = []
        var action: RuleAction?
        switch word {
        case .skip: skip = try Self.checks(argument, text)
        case .shadow: break  // taken off above
        default: action = try RuleAction(word, argument, text)
        }
        self.init(text: text, action: action, skip: skip, isShadow: isShadow)
    }

    private static func pieces(_ text: String) -> (word: String, argument: String) {
        let parts = text.split(separator: " ", maxSplits: 1)
        let argument = parts.dropFirst().first.map { String($0.drop { $0 == " " }) } ?? ""
        return (parts.first.map(String.init) ?? "", argument)
    }

    private static func unknown(_ word: String, of words: [ActionWord]) -> Unfit {
        let allowed = words.map(\.rawValue)
        let lower = word.lowercased()
        let meant =
            ActionWord.foreign[lower].flatMap { allowed.contains($0) ? $0 : nil } ?? nearest(to: word, in: allowed)
        let hint = meant.map { "; do you mean \"\($0)\"?" } ?? ""
        return Unfit("expected \(alternatives(allowed)), found \(quoted(word))\(hint)")
    }

    private static func checks(_ argument: String, _ text: String) throws(Unfit) -> Set<PolicyCheck> {
        var checks: Set<PolicyCheck> = []
        for word in argument.split(whereSeparator: { $0 == " " || $0 == "," }) {
            guard let check = PolicyCheck(rawValue: String(word)) else {
                let names = alternatives(PolicyCheck.allCases.map(\.rawValue))
                throw Unfit(expected: "\(names) after \"skip\"", found: word)
            }
            checks.insert(check)
        }
        guard !checks.isEmpty else {
            throw Unfit(expected: "\(alternatives(PolicyCheck.allCases.map(\.rawValue))) after \"skip\"", found: text)
        }
        return checks
    }
}

extension RuleAction {
    private static let scores = -1000...1000

    /// - Parameter argument: what follows the word.
    /// - Parameter text: the whole action, for problems.
    fileprivate init(_ word: ActionWord, _ argument: String, _ text: String) throws(Unfit) {
        func alone(_ action: RuleAction) throws(Unfit) -> RuleAction {
            guard argument.isEmpty else { throw Unfit(expected: "nothing after \"\(word.rawValue)\"", found: text) }
            return action
        }
        switch word {
        case .accept: self = try alone(.accept)
        case .greylist: self = try alone(.greylist)
        case .reject: self = .reject(try Reply(configured: argument, class: 5, text))
        case .defer: self = .defer(try Reply(configured: argument, class: 4, text))
        case .hold: self = .hold(try Self.line(argument, text))
        case .prepend: self = try Self.field(argument, text)
        case .filter: self = try Self.filter(argument, text)
        case .redirect: self = .redirect(try Self.address(argument, text))
        case .bcc: self = .bcc(try Self.address(argument, text))
        case .score:
            guard let score = Int(argument), Self.scores.contains(score), score != 0 else {
                let bounds = "from \(Self.scores.lowerBound) to \(Self.scores.upperBound), other than 0,"
                throw Unfit(expected: "an integer \(bounds) after \"score\"", found: text)
            }
            self = .score(score)
        case .skip, .shadow: throw Unfit(expected: "an action", found: text)
        }
    }

    /// Longest text for Postfix, in octets: what it takes as one reply line.
    private static let maxTextOctets = Reply.maxTextOctets

    private static func line(_ argument: String, _ text: String) throws(Unfit) -> String {
        guard argument.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
            throw Unfit(expected: "a text of printable ASCII on one line", found: text)
        }
        guard argument.utf8.count <= maxTextOctets else {
            throw Unfit("expected a text of at most \(maxTextOctets) octets, found \(argument.utf8.count)")
        }
        return argument
    }

    private static func field(_ argument: String, _ text: String) throws(Unfit) -> RuleAction {
        let argument = try line(argument, text)
        guard let colon = argument.firstIndex(of: ":"), colon != argument.startIndex,
            argument[..<colon].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })  // RFC 5322 §3.6.8
        else { throw Unfit(expected: "\"prepend Field-Name: text\"", found: text) }
        let value = argument[argument.index(after: colon)...].drop { $0 == " " }
        return .prepend(name: String(argument[..<colon]), value: String(value))
    }

    private static func filter(_ argument: String, _ text: String) throws(Unfit) -> RuleAction {
        let argument = try line(argument, text)
        guard let colon = argument.firstIndex(of: ":"), colon != argument.startIndex, !argument.contains(" ") else {
            throw Unfit(expected: "\"filter TRANSPORT:DESTINATION\"", found: text)
        }
        return .filter(
            transport: String(argument[..<colon]), destination: String(argument[argument.index(after: colon)...]))
    }

    private static func address(_ argument: String, _ text: String) throws(Unfit) -> String {
        guard let address = MailAddress(argument), address.text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw Unfit(expected: "an address such as \"ann@example.com\"", found: text)
        }
        return address.text
    }
}

extension Reply {
    /// A reply as an action gives it: `[CODE] [ENHANCED] TEXT`, of which all may be missing.
    /// - Parameter class: 4 or 5.
    fileprivate init(configured argument: String, class kind: Int, _ text: String) throws(Unfit) {
        var rest = Substring(argument)
        var code = kind * 100 + 50
        var enhanced = "\(kind).7.1"  // RFC 3463 §3.8: delivery not authorized
        if let word = Self.word(&rest, where: { $0.utf8.count == 3 && $0.utf8.allSatisfy(\.isASCIIDigit) }) {
            guard let number = Int(word), number / 100 == kind else {
                throw Unfit(expected: "a reply code of \(kind)xx", found: text)
            }
            guard number % 100 != 21 else {  // RFC 5321 §3.8: 421 closes the connection
                throw Unfit(expected: "a reply code other than \(kind)21", found: text)
            }
            code = number
        }
        if let word = Self.word(&rest, where: Self.isEnhanced) {
            guard word.hasPrefix("\(kind).") else {
                throw Unfit(expected: "an enhanced status code of class \(kind)", found: text)
            }
            enhanced = String(word)
        }
        guard rest.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
            throw Unfit(expected: "a reply of printable ASCII on one line", found: text)
        }
        guard rest.utf8.count <= Self.maxTextOctets else {
            throw Unfit("expected a reply of at most \(Self.maxTextOctets) octets, found \(rest.utf8.count)")
        }
        let fallback = kind == 5 ? "Refused by local policy" : "Refused for now by local policy"
        self.init(code: code, enhanced: enhanced, text: rest.isEmpty ? fallback : String(rest))
    }

    private static func word(_ rest: inout Substring, where isRight: (Substring) -> Bool) -> Substring? {
        let word = rest.prefix { $0 != " " }
        guard isRight(word) else { return nil }
        rest = rest.dropFirst(word.count).drop { $0 == " " }
        return word
    }

    /// `class "." subject "." detail`, at most three digits each. Source: RFC 3463 §2.
    private static func isEnhanced(_ word: Substring) -> Bool {
        let parts = word.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 3 && parts.first?.utf8.count == 1
            && parts.allSatisfy { (1...3).contains($0.utf8.count) && $0.utf8.allSatisfy(\.isASCIIDigit) }
    }
}
