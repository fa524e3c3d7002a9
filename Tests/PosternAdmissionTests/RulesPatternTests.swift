// Tables of patterns: what each kind matches, and that a hundred thousand of them say what one by one would say.

import PosternMail
import TestSupport
import Testing

@testable import PosternAdmission

@Suite("pattern tables")
struct RulesPatternTests {
    enum Kind { case text, name, mailbox }

    private static func subject(_ kind: Kind, _ text: String) -> PatternSubject {
        let octets = Array(text.utf8)[...]
        return switch kind {
        case .text: .text(octets)
        case .name: .name(octets)
        case .mailbox: .mailbox(octets)
        }
    }

    struct Row: CustomTestStringConvertible, Sendable {
        let rule: String
        let pattern: MatchPattern
        let kind: Kind
        let matches: [String]
        let misses: [String]

        init(_ rule: String, _ pattern: MatchPattern, _ kind: Kind, matches: [String], misses: [String]) {
            (self.rule, self.pattern, self.kind) = (rule, pattern, kind)
            (self.matches, self.misses) = (matches, misses)
        }
        var testDescription: String { rule }
    }

    private static func name(_ text: String) -> DomainName { (try? DomainName(text)) ?? .root }
    private static let example = name("example.com")
    private static let long = String(repeating: "a", count: 64)

    @Test(
        "rows",
        arguments: [
            Row(
                "an exact text, any case", .exact("Ann"), .text, matches: ["ann", "ANN"],
                misses: ["", "an", "ann ", "annn"]),
            Row("the empty text", .exact(""), .mailbox, matches: [""], misses: ["@", "a@b"]),
            Row("ASCII case only", .exact("jürg"), .text, matches: ["JüRG"], misses: ["JÜRG"]),
            Row(
                "a whole address, any case of both parts", .exact("ann@example.com"), .mailbox,
                matches: ["Ann@Example.COM"], misses: ["ann@example.org", "bo.ann@example.com", "ann@example.com."]),
            Row(
                "a name alone", .domain(example), .name, matches: ["example.com", "EXAMPLE.com", "example.com."],
                misses: [
                    "", ".", "a.example.com", "example.co", "xexample.com", "example.com..", ".example.com", "com",
                ]),
            Row(
                "names below", .below(example), .name,
                matches: ["a.example.com", "a.B.example.COM", "_x.example.com."],
                misses: [
                    "example.com", ".example.com", "a..example.com", "aexample.com", "example.com.a", "a b.example.com",
                    "\(long).example.com", "a\u{7F}.example.com",
                ]),
            Row(
                "U-labels are A-labels", .below(name("xn--bcher-kva.example")), .name,
                matches: ["a.bücher.example", "a.xn--bcher-kva.example"],
                misses: ["bücher.example", "a.bucher.example"]),
            Row(
                "a domain's addresses", .addresses(at: example), .mailbox,
                matches: ["ann@example.com", "@example.com", "a@b@example.com", "a@EXAMPLE.com."],
                misses: ["", "example.com", "ann@a.example.com", "ann@example.com@", "ann@example.org"]),
            Row(
                "an address by its domain's name", .domain(example), .mailbox, matches: ["ann@example.com"],
                misses: ["example.com", "ann@a.example.com"]),
            Row(
                "an address by a name above", .below(example), .mailbox, matches: ["ann@a.example.com"],
                misses: ["ann@example.com", "a.example.com"]),
            Row(
                "a name among texts is a text", .domain(example), .text, matches: ["example.com"],
                misses: ["example.com.", "a@example.com"]),
            Row(
                "an expression on the whole address", .expression("^ann@.*\\.com$"), .mailbox,
                matches: ["ann@x.com"], misses: ["bo@x.com", ""]),
            Row(
                "an expression on what is no name", .expression("^\\["), .name, matches: ["[192.0.2.1]"], misses: ["a"]),
            Row(
                "addresses among names are nothing", .addresses(at: example), .name, matches: [],
                misses: ["example.com"]),
        ])
    func rows(row: Row) throws {
        let table = try PatternTable([row.pattern])
        for text in row.matches {
            let told = table.match(Self.subject(row.kind, text))?.description.lowercased()
            #expect(told == row.pattern.description.lowercased(), "\(text)")
            #expect(table.contains(Self.subject(row.kind, text)), "\(text)")
        }
        for text in row.misses { #expect(!table.contains(Self.subject(row.kind, text)), "\(text)") }
        #expect(!table.contains(.address(.v4(0x7F00_0001))))
    }

    @Test(
        "networks",
        arguments: [
            ("192.0.2.0/24", "192.0.2.255", true), ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),  // RFC 4291 §2.5.5.2
            ("::ffff:192.0.2.0/120", "192.0.2.7", true), ("::ffff:192.0.2.0/120", "192.0.3.7", false),
            ("0.0.0.0/0", "255.255.255.255", true), ("0.0.0.0/0", "::1", false), ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false), ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false), ("2001:db8::1/128", "2001:db8::2", false),
            ("255.255.255.255/32", "255.255.255.255", true), ("::1/128", "::1", true),
        ])
    func networks(network: String, address: String, isIn: Bool) throws {
        let table = try PatternTable([.network(try Network(network))])
        #expect(table.contains(.address(try #require(IPAddress(address)))) == isIn)
    }

    @Test("of networks in each other the widest is told")
    func nested() throws {
        let patterns = try ["10.0.0.0/16", "10.0.0.0/8", "10.1.2.0/24", "10.0.0.0/8"].map {
            MatchPattern.network(try Network($0))
        }
        let table = try PatternTable(patterns)
        #expect(table.match(.address(.v4(0x0A01_0203)))?.description == "10.0.0.0/8")
        #expect(table.match(.address(.v4(0x0B00_0000))) == nil)
    }

    @Test("an empty table holds nothing; too many expressions are refused")
    func bounds() throws {
        let empty = try PatternTable([])
        #expect(!empty.contains(.text([])) && !empty.contains(.name([])) && !empty.contains(.mailbox([])))
        #expect(!empty.contains(.address(.v4(0))))
        let many = (0...PatternTable.maxExpressions).map { MatchPattern.expression("a\($0)") }
        #expect(throws: ExpressionError.self) { try PatternTable(many) }
        #expect(try PatternTable(many.dropLast()).contains(.text(Array("xa77".utf8)[...])))
    }

    // MARK: A hundred thousand

    @Test("100,000 networks say what one by one would say")
    func manyNetworks() throws {
        var random = SeededRandom(seed: 1)
        var networks = Set<Network>()
        while networks.count < 100_000 {
            if Bool.random(using: &random) {
                networks.insert(
                    Network(
                        containing: .v4(.random(in: .min ... .max, using: &random)),
                        prefixLength: .random(in: 14...32, using: &random)))
            } else {
                networks.insert(
                    Network(
                        containing: .v6(.random(in: 0x2001_0000_0000_0000...0x2001_00FF_FFFF_FFFF, using: &random), 0),
                        prefixLength: .random(in: 28...64, using: &random)))
            }
        }
        let table = try PatternTable(networks.map { .network($0) })
        var found = 0
        for _ in 0..<20_000 {
            var address: IPAddress =
                Bool.random(using: &random)
                ? .v4(.random(in: .min ... .max, using: &random))
                : .v6(
                    .random(in: 0x2001_0000_0000_0000...0x2001_00FF_FFFF_FFFF, using: &random),
                    .random(in: .min ... .max, using: &random))
            if case .v4(let bits) = address, Int.random(in: 0..<4, using: &random) == 0 {
                address = .v6(0, 0xFFFF_0000_0000 | UInt64(bits))
            }
            // One by one: every network that could hold it.
            let lengths = if case .v4 = address.unmapped { 0...32 } else { 0...128 }
            let expected = lengths.contains { length in
                networks.contains(Network(containing: address.unmapped, prefixLength: length))
            }
            if expected { found += 1 }
            #expect(table.contains(.address(address)) == expected, "\(address)")
        }
        #expect(found > 1_000 && found < 19_000)
    }

    @Test("100,000 names, names above, domains of addresses and texts say what one by one would say")
    func manyNames() throws {
        var random = SeededRandom(seed: 2)
        func word() -> String {
            String(
                (0..<Int.random(in: 1...3, using: &random)).map { _ in "abcdeF".randomElement(using: &random) ?? "a" })
        }
        func domain() -> String {
            (0..<Int.random(in: 1...4, using: &random)).map { _ in word() }.joined(separator: ".")
        }
        var patterns: Set<MatchPattern> = []
        while patterns.count < 100_000 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: patterns.insert(.domain(Self.name(domain())))
            case 1: patterns.insert(.below(Self.name(domain() + ".x" + word())))
            case 2: patterns.insert(.addresses(at: Self.name(domain())))
            default: patterns.insert(.exact("\(word())@\(domain())".lowercased()))
            }
        }
        let table = try PatternTable(Array(patterns))
        var found = 0
        for _ in 0..<20_000 {
            let host = domain() + (Bool.random(using: &random) ? ".x" + word() : "")
            let name = Self.name(host)
            var above: [MatchPattern] = []
            var parent = name.parent
            while let next = parent {
                above.append(.below(next))
                parent = next.parent
            }
            let byName = patterns.contains(.domain(name)) || above.contains { patterns.contains($0) }
            #expect(table.contains(.name(Array(host.utf8)[...])) == byName, "\(host)")
            let address = "\(word())@\(host)"
            let byAddress =
                byName || patterns.contains(.addresses(at: name)) || patterns.contains(.exact(address.lowercased()))
            #expect(table.contains(.mailbox(Array(address.utf8)[...])) == byAddress, "\(address)")
            if byName { found += 1 }
        }
        #expect(found > 1_000 && found < 19_000)
    }

    @Test("hostile names match as DomainName reads them, and nothing traps")
    func hostile() throws {
        let patterns: [MatchPattern] = [
            .domain(Self.example), .below(Self.example), .addresses(at: Self.name("a.org")),
        ]
        let table = try PatternTable(patterns)
        let samples = ["mx.example.com", "example.com.", "a.b.c.example.com", "ü.example.com", "ann@a.org"]
        let tokens = [[0x2E], [0x2E, 0x2E], [0], [0xFF], Array(Self.long.utf8), Array("@".utf8), Array("xn--".utf8)]
        Mutations.of(samples.map { Array($0.utf8) }, tokens: tokens, count: 20_000, seed: 3) { octets in
            let name = try? DomainName(text: octets)
            let expected = name.map { $0.isEqualOrBelow(Self.example) } ?? false
            #expect(table.contains(.name(octets[...])) == expected, "\(octets)")
            _ = table.contains(.text(octets[...]))
            _ = table.match(.mailbox(octets[...]))
        }
    }
}
