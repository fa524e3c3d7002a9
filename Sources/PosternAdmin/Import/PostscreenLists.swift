// The DNS lists of Postfix's postscreen(8), as main.cf or postconf(1) has them, as `[dnsbl]` and `[[dnsbl.list]]`. What
// postscreen decides otherwise (several answers of one list, allow lists that skip its other tests) is told. Source:
// postconf(5), postscreen_dnsbl_sites and its neighbours.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

enum PostscreenLists {
    /// Most entries that are read; each is judged for itself.
    static let maxSites = 1000

    /// postscreen counts every reply; of those only answers in 127/8 can tell of a listing (RFC 5782 §2.1), and of them
    /// 127.0.0.1 and 127.255/16 never do.
    private static let anyAnswer = "127.[0..254].[0..255].[0..255]"

    private static let prefix = "postscreen_dnsbl_"

    /// A list and what its answers count.
    fileprivate struct List {
        let zone: DomainName
        var scores: [(answers: AnswerPattern, score: Int, line: ImportedLine)] = []

        var toml: String {
            let scores = scores.map { "\(ImportedSettings.quoted("\($0.answers)")) = \($0.score)" }
            return "\n[[dnsbl.list]]\nzone = \(ImportedSettings.quoted("\(zone)"))\n"
                + "scores = { \(scores.joined(separator: ", ")) }\n"
        }
    }

    /// Why something is not carried over.
    fileprivate struct NotCarried: Error { let reason: String }

    /// - Returns: nil for a file that says nothing of DNS lists.
    static func settings(of octets: [UInt8], file: String) -> ImportedSettings? {
        let parameters = MainParameters(octets, file: file).values.filter { $0.key.hasPrefix(prefix) }
        guard parameters[prefix + "sites"] != nil || parameters[prefix + "threshold"] != nil else { return nil }
        var settings = ImportedSettings()
        var head = ""
        for (name, words) in parameters.sorted(by: { $0.key < $1.key }) where name != prefix + "sites" {
            for word in words.prefix(1) {
                do throws(NotCarried) { head += try line(for: name, word.text) } catch {
                    let line = ImportedLine(file: file, number: word.number, text: "\(name) = \(shown(word.text))")
                    settings.leftOut.append(ImportRemark(line: line, text: error.reason))
                }
            }
        }
        if !head.contains("reject_score = ") { head = "reject_score = 1\n" + head }  // postconf(5): its default
        let lists = lists(parameters[prefix + "sites"] ?? [], &settings)
        settings.toml = "[dnsbl]\n" + head + lists.map(\.toml).joined()
        settings.leftOut.sort { $0.line.number < $1.line.number }
        return settings
    }

    // MARK: Parameters

    /// What a parameter other than the lists becomes.
    private static func line(for name: String, _ value: String) throws(NotCarried) -> String {
        let line: String
        switch name.dropFirst(prefix.count) {
        case "threshold":
            guard let score = number(value), score > 0 else {
                throw NotCarried(reason: "expected a number from 1 on; reject_score is postscreen's default, 1")
            }
            line = "reject_score = \(score)\n"
        case "timeout":
            guard let unit = value.last else { throw NotCarried(reason: "expected a time such as 10s") }
            line = "budget = \(ImportedSettings.quoted(unit.isNumber ? value + "s" : value))\n"
        case "action":
            // postscreen asks and logs, as `shadow` does; enforce and drop both refuse.
            if value == "ignore" { return "shadow = true\n" }
            if value == "enforce" || value == "drop" { return "" }
            throw NotCarried(reason: "expected ignore, enforce or drop")
        case "allowlist_threshold", "whitelist_threshold":
            if value == "0" { return "" }  // postconf(5): never
            throw NotCarried(
                reason: "a score below 0 skips postscreen's other tests, which postern-policy does not have; "
                    + "it only counts in the sum")
        case "reply_map":
            throw NotCarried(reason: "it hides query keys in replies; postern-policy never shows them")
        case "ttl", "min_ttl", "max_ttl":
            throw NotCarried(reason: "answers are kept for as long as the lists say")
        default: throw NotCarried(reason: "there is nothing like it in [dnsbl]")
        }
        if let problem = ImportedSettings.check("[dnsbl]\n" + line).problems.first {
            throw NotCarried(reason: "\(problem.keyPath): \(problem.text)")
        }
        return line
    }

    // MARK: Lists

    private static func lists(_ words: [ImportedLine], _ settings: inout ImportedSettings) -> [List] {
        var lists: [List] = []
        for (index, word) in words.enumerated() {
            let place = ImportedLine(file: word.file, number: word.number, text: shown(word.text))
            do throws(NotCarried) {
                guard index < maxSites else { throw NotCarried(reason: "expected at most \(maxSites) entries") }
                let (list, advice) = try list(word.text)
                guard let score = list.scores.first else { continue }
                settings.warnings += advice.map { ImportRemark(line: place, text: $0) }
                if let known = lists.firstIndex(where: { $0.zone == list.zone }) {
                    try lists[known].add(score.answers, score.score, place, &settings)
                } else {
                    lists.append(List(zone: list.zone, scores: [(score.answers, score.score, place)]))
                }
            } catch {
                settings.leftOut.append(ImportRemark(line: place, text: error.reason))
            }
        }
        return lists
    }

    /// `domain=filter*weight`, cut as psc_dnsbl.c does: at the first `*`, then at the first `=`.
    private static func list(_ site: String) throws(NotCarried) -> (DNSBLListSettings, advice: [String]) {
        guard ImportedSettings.isPlain(site.utf8) else { throw NotCarried(reason: "expected ASCII signs") }
        guard !site.contains("$") else {
            throw NotCarried(reason: "expected an entry without $parameters; postconf -nx prints their values")
        }
        guard !site.contains(":"), !site.hasPrefix("/") else {
            throw NotCarried(reason: "expected a list's domain; files and tables are not read")
        }
        let halves = site.split(separator: "*", maxSplits: 1, omittingEmptySubsequences: false)
        let parts = (halves.first ?? "").split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        var weight = 1
        if let text = halves.dropFirst().first {
            guard let value = number(text) else { throw NotCarried(reason: "expected an integer after *") }
            weight = value
        }
        let zone = ImportedSettings.quoted(String(parts.first ?? ""))
        let filter = ImportedSettings.quoted(parts.dropFirst().first.map(String.init) ?? anyAnswer)
        let result = ImportedSettings.check("[[dnsbl.list]]\nzone = \(zone)\nscores = { \(filter) = \(weight) }\n")
        if let problem = result.problems.first { throw NotCarried(reason: problem.text) }
        guard let list = result.configuration?.dnsbl.lists.first else {
            throw NotCarried(reason: "expected a list, found none")
        }
        return (list, result.advice.map(\.text))
    }

    /// As sscanf(3) reads `%d` up to the end.
    private static func number(_ text: some StringProtocol) -> Int? {
        guard (1...6).contains(text.utf8.count) else { return nil }
        return Int(text)
    }

    /// An entry without its query key.
    private static func shown(_ text: String) -> String {
        let end = text.firstIndex { $0 == "=" || $0 == "*" } ?? text.endIndex
        return ZoneName.redacted(String(text[..<end])) + text[end...]
    }
}

extension PostscreenLists.List {
    /// postscreen adds up what all entries of a zone count. Postern takes the highest of what a list's answers count.
    fileprivate mutating func add(
        _ answers: AnswerPattern, _ score: Int, _ line: ImportedLine, _ settings: inout ImportedSettings
    ) throws(PostscreenLists.NotCarried) {
        if let twin = scores.firstIndex(where: { $0.answers == answers }) {
            scores[twin].score += score
            return
        }
        if let other = scores.first(where: { $0.answers.overlaps(answers) }) {
            throw PostscreenLists.NotCarried(
                reason: "postscreen adds this to the weight of \(other.answers) of the same zone for one answer, while "
                    + "a list counts once here: write a score for each answer")
        }
        scores.append((answers, score, line))
        settings.warnings.append(
            ImportRemark(
                line: line,
                text: "where the zone gives several answers postscreen adds up their weights; here the highest counts"))
    }
}
