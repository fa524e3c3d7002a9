// What the admin writes for postern-policy and postern-rate, and what strangers then put into it: expressions against a
// matcher that has nothing in common with theirs, rules and limits as text, explain's command. The fuzzer plays both.

import AdmissionSupport
import PosternMail

@testable import PosternAdmission
@testable import PosternDaemon
@testable import PosternPolicy

// MARK: Expressions

/// An expression, and the text it is tried on.
@Sendable func fuzzExpression(_ input: inout FuzzInput) {
    let text = String(decoding: input.piece(), as: UTF8.self)
    let subject = Array(input.remainder().prefix(PlainMatcher.maxOctets))
    var parser = ExpressionParser(text)
    let expression: TextExpression
    do throws(ExpressionError) { expression = try TextExpression(text) } catch {
        require(error.description.unicodeScalars.allSatisfy { $0.value >= 0x20 }, "error \(error)")
        return
    }
    let tree = certain("what compiles parses") { try parser.parse() }
    let found = expression.matches(subject[...])
    require(found == PlainMatcher(tree).matches(subject), "/\(text)/ on \(shown(subject)): \(found)")
    // In the middle of another text it sees nothing of that.
    let around = [0x61] + subject + [0x61]
    require(expression.matches(around.dropFirst().dropLast()) == found, "/\(text)/ on a slice \(shown(subject))")
    let upper = subject.map { (0x61...0x7A).contains($0) ? $0 - 0x20 : $0 }
    require(expression.matches(upper[...]) == found, "/\(text)/ on \(shown(subject)) in capitals")
}

/// Matches a tree by the sets of places that each of its parts can end at. Slow, and nothing of an automaton.
private struct PlainMatcher {
    /// A place each in a word's bits, with both ends of the text.
    static let maxOctets = 60

    private let root: Part

    init(_ tree: ExpressionTree) { root = Part(tree) }

    func matches(_ octets: [UInt8]) -> Bool {
        let symbols = [ExpressionSymbol.start] + octets.map(Int.init) + [ExpressionSymbol.end]
        root.forget()
        return root.ends(from: (1 << UInt64(symbols.count + 1)) - 1, symbols) != 0
    }

    private final class Part {
        private let tree: ExpressionTree
        private let below: [Part]
        /// Loops in loops ask for the same again and again.
        private var known: [UInt64: UInt64] = [:]

        init(_ tree: ExpressionTree) {
            self.tree = tree
            below =
                switch tree {
                case .symbols: []
                case .sequence(let trees), .alternatives(let trees): trees.map(Part.init)
                case .repeated(let tree, _, _): [Part(tree)]
                }
        }

        func forget() {
            known = [:]
            for part in below { part.forget() }
        }

        func ends(from places: UInt64, _ symbols: [Int]) -> UInt64 {
            if places == 0 { return 0 }
            if let ends = known[places] { return ends }
            let ends = found(places, symbols)
            known[places] = ends
            return ends
        }

        private func found(_ places: UInt64, _ symbols: [Int]) -> UInt64 {
            switch tree {
            case .symbols(let set):
                var ends: UInt64 = 0
                for (place, symbol) in symbols.enumerated()
                where places >> UInt64(place) & 1 == 1 && set.contains(symbol) { ends |= 2 << UInt64(place) }
                return ends
            case .sequence: return below.reduce(places) { $1.ends(from: $0, symbols) }
            case .alternatives: return below.reduce(0) { $0 | $1.ends(from: places, symbols) }
            case .repeated(_, let least, let most):
                guard let part = below.first else { return 0 }
                var current = places
                for _ in 0..<least {
                    let next = part.ends(from: current, symbols)
                    if next == current { break }
                    current = next
                }
                var all = current
                var count = least
                while current != 0, most.map({ count < $0 }) ?? true {
                    count += 1
                    current = part.ends(from: current, symbols)
                    if current & ~all == 0 { break }
                    all |= current
                }
                return all
            }
        }
    }
}

// MARK: Rules and limits

/// A choice, the text of rules and limits, a stage, then a request's values; DNS fails.
@Sendable func fuzzRules(_ input: inout FuzzInput) {
    let choice = input.octet()
    let octets = Array("[host]\nname = \"mx1.example.org\"\n".utf8) + input.piece()
    let role = choice & 1 == 0 ? ConfigurationRole.policy : .rate
    let result = read(octets, for: role)
    for problem in result.problems {
        let isOneLine = problem.description.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
        require(isOneLine, "problem \(shown(problem.description.utf8))")
    }
    guard let configuration = result.configuration else { return }
    let written = configuration.differences
    // What is wrong in another daemon's tables does not keep this one from starting.
    let again = result.problems.isEmpty ? read(Array(written.utf8), for: role) : result
    require(again.configuration?.differences == written, "\(again.problems) of what show prints:\n\(written)")
    var dns = FuzzInput([])
    let zone = HostileZone(&dns, isBroken: choice & 2 != 0)
    let requests = [request(&input), request(&input)]
    let now = UnixTime(seconds: 1_790_000_000)
    if role == .policy {
        let judge = certain("rules that were checked") {
            try PolicyJudge(
                configuration, ledger: InMemoryGreylist(), health: DNSBLHealth(configuration.dnsbl.lists))
        }
        var facts = InstanceFacts()
        for request in requests {
            let verdict = judge.verdict(
                on: request, at: PolicyTime(now: now, minute: Int(choice) * 5, weekday: .fri), facts: &facts, dns: zone,
                telling: choice & 4 == 0 ? .outcome : .everything)
            hold(verdict, written)
        }
    } else {
        let judge = certain("limits that were checked") {
            try LimitJudge(configuration.limits, isShadow: configuration.host.shadow)
        }
        let memory = LimitMemory(maxKeys: 100)
        memory.prepare(judge.terms)
        for request in requests + requests {
            let foreseen = judge.explanation(of: request, ledger: memory, now: now)
            let verdict = judge.verdict(on: request, ledger: memory, now: now)
            require(
                foreseen.answer == verdict.answer, "foreseen \(foreseen.answer), found \(verdict.answer)\n\(written)")
            for finding in foreseen.findings + verdict.findings {
                require(finding.reason.isOnePlainLine, "reason \(finding.reason)")
            }
            require((try? verdict.answer.wire()) != nil, "\(verdict.answer) of\n\(written)")
        }
    }
}

private func read(_ octets: [UInt8], for role: ConfigurationRole) -> LoadResult {
    Configuration.read(octets, file: "postern.toml", folder: "/nonexistent/postern", for: role)
}

/// A stage, then values by the number of their attribute, up to an empty one.
private func request(_ input: inout FuzzInput) -> PolicyRequest {
    let stages = PolicyStage.allCases
    let stage = stages[Int(input.octet()) % stages.count]
    var values: [PolicyAttribute: [UInt8]] = [
        .clientAddress: Array("192.0.2.7".utf8), .recipient: Array("bo@example.org".utf8),
    ]
    for _ in PolicyAttribute.allCases {
        let piece = input.piece()
        guard let number = piece.first, let attribute = PolicyAttribute(rawValue: Int(number) - 0x40) else { break }
        values[attribute] = piece.dropFirst().filter { $0 != 0x0A }
    }
    return PolicyRequest(stage: stage, values)
}

/// What a verdict promises, whatever rules and requests were.
private func hold(_ verdict: PolicyVerdict, _ rules: String) {
    for answer in [verdict.answer, verdict.withheld].compactMap({ $0 }) {
        // Postfix is told what the admin has written, so what cannot be said was to be refused when it was read.
        require((try? answer.wire()) != nil, "\(answer) of\n\(rules)")
    }
    for finding in verdict.findings {
        for text in [finding.reason] + finding.exchanges { require(text.isOnePlainLine, "\(finding.check): \(text)") }
    }
    require(verdict.text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }, "text \(verdict.text)")
}

// MARK: Explain

/// A line of the control socket.
@Sendable func fuzzExplain(_ input: inout FuzzInput) {
    let line = String(decoding: input.remainder(), as: UTF8.self)
    let command: ControlCommand
    let asked: PolicyRequest
    do throws(ControlRefusal) {
        command = try ControlCommand(line: line)
        require((try? ControlCommand(line: command.line)) == command, "\(line) is \(command.line)")
        asked = try PolicyRequest(command)
    } catch {
        require(error.description.isOnePlainLine, "refusal \(error)")
        return
    }
    // What the command line makes of the same values reads as the same request.
    let values = PolicyAttribute.allCases.filter { !asked[$0].isEmpty && $0 != .protocolState }.map {
        ($0, String(decoding: asked[$0], as: UTF8.self))
    }
    let again = certain("what was read is asked again") {
        try PolicyRequest(ControlCommand(line: ControlCommand.explain(stage: asked.stage, values).line))
    }
    require(
        again.stage == asked.stage && values.allSatisfy { again[$0.0].elementsEqual(asked[$0.0]) }, "again: \(line)")
    var dns = FuzzInput(explainedZone)
    var facts = InstanceFacts()
    let verdict = explainedJudge.verdict(
        on: asked, at: PolicyTime(now: UnixTime(seconds: 1_790_000_000), minute: 600, weekday: .mon), facts: &facts,
        dns: HostileZone(&dns, isBroken: false), telling: .everything)
    hold(verdict, line)
    require(certain("counts") { try explainedMemory.counts() } == GreylistCounts(), "explain has written: \(line)")
    let document = verdict.document
    let text = "\(document)"
    require(text.unicodeScalars.allSatisfy { $0.value >= 0x20 }, "a document of several lines: \(text)")
    require((try? ControlDocument(Array(text.utf8))) == document, "a document that reads back as another: \(text)")
}

/// A rule for every condition, lists by every subject, greylisting.
private let explained: Configuration = {
    var text = "[host]\nname = \"mx1.example.org\"\n[greylist]\nclients = \"all\"\n"
    for subject in ["client", "sender", "helo", "client_name"] {
        text += "[[dnsbl.list]]\nzone = \"\(subject.replacing("_", with: "-")).example\"\nby = \"\(subject)\"\n"
        text += "scores = { \"127.0.0.[2..11]\" = 1 }\n"
    }
    let addresses = "[\"ann@example.net\", \"@example.org\", \"/^[a-z]+[0-9]{2,}@(x|y)?/\"]"
    let domains = "[\"example.net\", \"*.example.org\", \"/^[a-z]+[0-9]{2,}(x|y)?$/\"]"
    let special: [RuleAttribute: String] = [
        .client: "[\"198.51.100.0/24\", \"2001:db8::/32\"]", .size: "[\"1000..\"]",
        .sender: addresses, .recipient: addresses, .senderDomain: domains, .recipientDomain: domains,
        .encryptionKeysize: "[\"..127\"]", .serverPort: "[\"587\"]", .time: "[\"08:00..18:00\"]",
        .weekday: "[\"mon..fri\"]", .dnsblScore: "[\"1..\"]", .spf: "[\"fail\", \"softfail\"]",
        .serverAddress: "[\"192.0.2.0/24\"]",
    ]
    for attribute in RuleAttribute.allCases {
        let values = special[attribute] ?? "[\"exact\", \"/^[a-z]+[0-9]{2,}(x|y)?$/\"]"
        text += "[[rule]]\nname = \"\(attribute.rawValue)\"\n\(attribute.rawValue) = \(values)\naction = \"score 1\"\n"
    }
    let result = read(Array(text.utf8), for: .policy)
    return certain("\(result.problems)") {
        guard let configuration = result.configuration else { throw ControlRefusal("no configuration") }
        return configuration
    }
}()

/// SPF for everybody, and four lists that pass their test: each name that is asked is listed, but those that must not
/// be.
private let explainedZone: [UInt8] = {
    var entries = ["T* v=spf1 ip4:192.0.2.0/24 exists:%{i}.%{l}.example.net -all", "A* 127.0.0.2"]
    let mapped = ".0.0.0.0.0.f.7.f.f.f.f" + String(repeating: ".0", count: 20)
    for name in ["1.0.0.127.client", "1\(mapped).client", "invalid.sender", "invalid.helo", "invalid.client-name"] {
        entries.append("N\(name).example")
    }
    return Array((entries.joined(separator: "\0") + "\0").utf8)
}()

/// Proved once: explain changes nothing about it.
private let explainedHealth: DNSBLHealth = {
    let health = DNSBLHealth(explained.dnsbl.lists)
    var octets = FuzzInput(explainedZone)
    let zone = HostileZone(&octets, isBroken: false)
    health.probe(now: UnixTime(seconds: 1_789_999_999)) { zone }
    require(health.statuses.allSatisfy { $0.state == .working }, "\(health.statuses)")
    return health
}()

/// Stays empty: explain writes nothing.
private let explainedMemory = InMemoryGreylist()
private let explainedJudge = certain("the rules above") {
    try PolicyJudge(explained, ledger: explainedMemory, health: explainedHealth)
}
