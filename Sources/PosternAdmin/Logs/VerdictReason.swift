// Why a daemon did what it did, in as few words as make a table: the rule, list, limit or result that decided, without
// the names and numbers of one message. Read from the daemons' own texts, each part by its key and not by its place.

internal import PosternMail

/// One row of the table of verdicts.
struct VerdictReason: Hashable {
    /// What was done, or `would reject` where it was only observed.
    var action: [UInt8]
    /// Empty where there was nothing to decide.
    var reason: [UInt8]

    init(_ action: ArraySlice<UInt8>, _ reason: ArraySlice<UInt8>) {
        (self.action, self.reason) = (Array(action), Array(reason.prefix(Self.maxOctets)))
    }

    /// Longest reason, in octets.
    private static let maxOctets = 120

    /// What one outcome counts as: what was done first, then what each shadow would have done.
    static func all(of outcome: PosternLine.Outcome, _ line: PosternLine) -> [VerdictReason] {
        switch line.daemon {
        case .policy, .rate: policy(outcome, line.text)
        case .dmarc: dmarc(outcome, line.text)
        case .dkim: [VerdictReason(outcome.action, dkim(outcome, line.text))]
        case .dns: []
        }
    }

    // MARK: postern-policy, postern-rate: `550 5.7.1 You are not me (rule they say they are us); shadow: would ...`

    private static func policy(_ outcome: PosternLine.Outcome, _ text: ArraySlice<UInt8>) -> [VerdictReason] {
        let (decided, shadows) = parted(text)
        var found: [VerdictReason] = []
        if outcome.action.equals("shadow") {
            found.append(would(decided) ?? VerdictReason(outcome.action, []))
        } else {
            var reason = source(decided)
            // Behind the shadows stands why greylisting let it pass.
            if reason.isEmpty, text.last == UInt8(ascii: ")"), text.contains(" (greylist: ") {
                reason = source(text)
            }
            found.append(VerdictReason(outcome.action, reason))
        }
        var rest = shadows
        while let shadow = rest {
            let (piece, next) = shadow.parted(at: "; shadow: ").map { ($0.before, Optional($0.after)) } ?? (shadow, nil)
            if let wish = would(piece) { found.append(wish) }
            rest = next
        }
        return found
    }

    /// What was decided, and what only observes. A list's operator writes into the reply: what looks like a shadow in
    /// it has no source before it.
    private static func parted(
        _ text: ArraySlice<UInt8>
    ) -> (decided: ArraySlice<UInt8>, shadows: ArraySlice<UInt8>?) {
        var rest = text
        while let (_, after) = rest.parted(at: "; shadow: ") {
            let before = text[..<(after.startIndex - 10)]
            if before.last == UInt8(ascii: ")") || before.equals("no objection") { return (before, after) }
            rest = after
        }
        return (text, nil)
    }

    /// `would reject: 550 5.7.1 No spam (rule no spam)`.
    private static func would(_ text: ArraySlice<UInt8>) -> VerdictReason? {
        guard text.begins(with: "would "), let (action, rest) = text.parted(at: ": ") else { return nil }
        // Another source may stand behind it: why greylisting let the mail pass.
        let piece = rest.lastPlace(of: ") (greylist: ").map { rest[...$0] } ?? rest
        return VerdictReason(action, source(piece))
    }

    /// What stands in the last parentheses, up to the colon: `rule no spam`, `dnsbl`, `greylist`, `limit per account`.
    private static func source(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard text.last == UInt8(ascii: ")") else { return [] }
        let places = [
            text.lastPlace(of: " (rule "), text.lastPlace(of: " (dnsbl: "), text.lastPlace(of: " (greylist: "),
            text.lastPlace(of: " (limit "),
        ]
        guard let open = places.compactMap({ $0 }).max() else { return [] }
        let inner = text[(open + 2)...].dropLast()
        return inner.begins(with: "rule ") ? inner : inner.upTo(":")
    }

    // MARK: postern-dmarc

    private static func dmarc(_ outcome: PosternLine.Outcome, _ text: ArraySlice<UInt8>) -> [VerdictReason] {
        let result = FindingWords(text).first("dmarc").map { Array("dmarc=".utf8) + $0 } ?? []
        var found: [VerdictReason] = []
        if outcome.action.equals("reject") || outcome.action.equals("defer") {
            found.append(VerdictReason(outcome.action, refusal(text) ?? result[...]))
        } else if outcome.action.equals("pass") {
            found.append(VerdictReason(outcome.action, plain(text)))
        } else {
            found.append(VerdictReason(outcome.action, result[...]))
        }
        if let (_, wish) = text.parted(at: ", would "), let (action, _) = wish.parted(at: ": "), action.count < 16 {
            found.append(VerdictReason((Array("would ".utf8) + action)[...], result[...]))
        }
        return found
    }

    /// By the enhanced code of the reply. Source: RFC 7372 §3.
    private static func refusal(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var rest = text
        // The reply may stand before the findings or behind them.
        if rest.first.map({ !$0.isASCIIDigit }) ?? true {
            guard let place = text.place(of: "; 5") ?? text.place(of: "; 4") else { return nil }
            rest = text[(place + 2)...]
        }
        guard rest.takeNumber(digits: 3) != nil, rest.take(" ") else { return nil }
        let code = rest.firstWord
        if code.equals("5.7.26") || code.equals("4.7.26") { return Array("dmarc".utf8)[...] }
        if code.equals("5.7.23") || code.equals("4.7.23") { return Array("spf".utf8)[...] }
        if code.equals("5.7.24") || code.equals("4.7.24") { return Array("spf error".utf8)[...] }
        if code.equals("4.4.3") { return Array("dmarc temperror".utf8)[...] }
        return rest.contains("cannot be authenticated") ? Array("no author".utf8)[...] : code
    }

    // MARK: postern-dkim

    private static func dkim(_ outcome: PosternLine.Outcome, _ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        if outcome.action.equals("verify") {
            return FindingWords(text).first("dkim").map { (Array("dkim=".utf8) + $0)[...] } ?? []
        }
        guard outcome.action.equals("sign") else { return plain(text) }
        // Signed mail that relays may alter, by what it holds.
        return text.place(of: "fragile: ").map { text[$0...].upTo(", ") } ?? []
    }

    /// A sentence without what differs from message to message.
    private static func plain(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        text.upTo("; ").upTo(", ").upTo(" for ")
    }
}

/// The findings in a text of postern-dkim or postern-dmarc: `spf=pass (a) mailfrom=example.org, dkim=none, dmarc=pass`.
/// What stands in parentheses is a reason, and looks like a finding only by chance or malice.
struct FindingWords {
    private let text: ArraySlice<UInt8>

    /// Most findings that are read from one line.
    private static let maxFindings = 100

    init(_ text: ArraySlice<UInt8>) { self.text = text }

    /// Each finding of a method: its result, and what follows up to the next one.
    func each(_ method: StaticString, _ take: (_ result: ArraySlice<UInt8>, _ rest: ArraySlice<UInt8>) -> Void) {
        var rest = text
        for _ in 0..<Self.maxFindings {
            guard let place = rest.place(of: method) else { return }
            let isAtStart =
                place == text.startIndex || text[..<place].ends(with: ", ") || text[..<place].ends(with: "; ")
            rest = rest[(place + method.utf8CodeUnitCount)...]
            guard isAtStart, rest.first == UInt8(ascii: "="), !isInParentheses(place) else { continue }
            rest = rest.dropFirst()
            let result = rest.prefix { $0.isASCIILetter }
            rest = rest.dropFirst(result.count)
            take(result, rest)
        }
    }

    func first(_ method: StaticString) -> ArraySlice<UInt8>? {
        var found: ArraySlice<UInt8>?
        each(method) { result, _ in if found == nil { found = result } }
        return found
    }

    private func isInParentheses(_ place: Int) -> Bool {
        var depth = 0
        for octet in text[..<place] {
            if octet == UInt8(ascii: "(") { depth += 1 }
            if octet == UInt8(ascii: ")") { depth = max(0, depth - 1) }
        }
        return depth > 0
    }
}
