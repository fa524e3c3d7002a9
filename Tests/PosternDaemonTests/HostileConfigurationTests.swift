// Whatever the file holds, reading it ends, and ends in problems: mutations of good files, sizes and depths.

import PosternAdmission
import PosternMail
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("hostile configuration")
struct HostileConfigurationTests {
    private static let full = """
        # comment äöü
        [host]
        name = "mx1.example.com"
        networks = ["127.0.0.0/8", "::1/128", 'file:absent']
        passthrough = [ "A", # inner comment
          "B", ]
        [listen]
        dns = ["unix:/run/postern/dns.sock", "udp:127.0.0.1:5300"]
        mode = "0660"
        [dns]
        cache = 0x4_000_000
        negative_ttl_max = "60s"
        [dkim]
        sign_header_fields = \"""
        x\\
          y\"""
        expire = 1979-05-27T07:32:00.5Z
        dotted.key."quoted" = { a = [[1, 2.5e3], [true, inf]], b = '''z''' }
        [[dkim.key]]
        domain = "b\\u00fccher.example"
        selector = "s"
        [[dkim.key]]
        domain = "example.com"
        [[dnsbl.list]]
        zone = "zen.spamhaus.org"
        scores = { "127.0.0.[2..4;10]" = 4, "127.0.1.2" = -2 }
        [[rule]]
        name = "a"
        helo = ["*.example.com", "/^\\[x\\/]/", "file:absent"]
        not_time = ["22:00..06:00"]
        size = ["10MiB.."]
        action = "shadow reject 550 5.7.1 no"
        [[limit]]
        name = "b"
        per = ["client"]
        count = "octets"
        allow = ["1GiB/1d", "5/1m"]
        action = "hold"
        [store]
        url = "redis+sentinel://a:1,[::1]:2/main"
        """
    private static let tokens = [
        "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\"", "\"\"\"", "'", "'''", "\\", "\\u00e4", "\\U0010FFFF", "#",
        "\n",
        "\r\n", "\u{0}", "é", "\u{2028}", "\u{FEFF}", "1e400", "0x", "07:32:00", "-", "_", "file:", "dkim.key", "true",
        "nan",
    ].map { Array($0.utf8) }

    @Test("mutated files never trap, and each problem stands in the file")
    func mutations() {
        var good = 0
        var bad = 0
        let samples = [Array(Self.full.utf8), Array(SampleConfiguration.text.utf8), Array(Self.uncommented.utf8)]
        Mutations.of(samples, tokens: Self.tokens, count: 4000, seed: 2026) { octets in
            let result = read(octets, for: octets.count % 2 == 0 ? .dns : .check)
            if result.problems.isEmpty { good += 1 } else { bad += 1 }
            #expect((result.configuration == nil) == result.problems.contains { $0.severity == .error })
            let lines = octets.count { $0 == 0x0A } + 1
            for problem in result.problems where problem.file == "postern.toml" && problem.line > 0 {
                #expect(problem.line <= lines && problem.column >= 1, "\(problem)")
                #expect(problem.description.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "\(problem)")
            }
        }
        #expect(good > 100 && bad > 1000)  // both ways were gone
    }

    private static var uncommented: String {
        SampleConfiguration.text.split(separator: "\n").map { line in
            line.hasPrefix("#") && !line.hasPrefix("# ") ? line.dropFirst() : line
        }.joined(separator: "\n")
    }

    @Test("what a mutated list's file holds is problems, no more")
    func mutatedLists() throws {
        let folder = try TemporaryFolder()
        let configuration = Array("[host]\nnetworks = \"file:nets\"\npassthrough = \"file:nets\"".utf8)
        let samples = [Array("192.0.2.0/24\n# comment\n2001:db8::/32 # x\n".utf8)]
        try Mutations.of(samples, tokens: Self.tokens, count: 300, seed: 7) { octets in
            try folder.write("nets", octets)
            let result = read(configuration, folder: folder.path, for: .dkim)
            #expect(result.problems.allSatisfy { $0.file == "\(folder.path)/nets" })
        }
    }

    @Test("mutated texts of judges never trap, and what was taken is taken again as it is written")
    func mutatedTexts() {
        let tokens = [
            " ", "/", "..", "[", "]", ";", "*.", "@", ":", "\\", "shadow ", "5.7.1 ", "421", "GiB",
            "99999999999999999999", "é", "\u{0}",
        ]
        func check<Value: Hashable>(_ type: TextType<Value>, _ samples: String...) {
            var taken = 0
            Mutations.of(samples.map { Array($0.utf8) }, tokens: tokens.map { Array($0.utf8) }, count: 800, seed: 11) {
                octets in
                let text = String(decoding: octets, as: UTF8.self)
                do {
                    let value = try type.parse(text)
                    taken += 1
                    #expect(try type.parse(type.write(value)) == value, "\(text)")
                } catch {
                    let sentence = (error as? Unfit)?.text ?? ""
                    #expect(sentence.hasPrefix("expected "), "\(text): \(sentence)")
                    #expect(sentence.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "\(text)")
                }
            }
            #expect(taken > 10, "\(type.expectation)")
        }
        check(
            .ruleAction, "reject 550 5.7.1 You are not me", "prepend X-Rule: a", "filter smtp:[127.0.0.1]:25", "score 3"
        )
        check(.limitAction, "defer 4.7.1 Slow down", "hold")
        check(.hostCondition, "mx1.example.com", "*.example.com", "/^[0-9]+\\/$/", "[192.0.2.1]")
        check(.addressCondition, "ann@example.com", "@example.com", "<>", "/x/")
        check(.domainCondition, "example.com", "*.example.com")
        check(.anyCondition, "192.0.2.0/24", "2001:db8::/32", "@example.com", "ann", "*.example.com")
        check(.numbers, "25", "10..", "..3", "-5..-1")
        check(.sizes, "10MiB..", "..64KiB", "1GiB")
        check(.timesOfDay, "08:00..18:00", "22:00..24:00")
        check(.weekdays, "mon..fri", "sun")
        check(.rate, "200/1h", "1GiB/1d")
        check(.percentage, "80%", "1%")
        check(.storeURL, "redis://192.0.2.10:6379/0", "redis+sentinel://a,[::1]:2/main")
        check(
            TextType("an answer") { text throws(Unfit) in
                try AnswerPattern(text)
            } write: {
                $0.description
            },
            "127.0.0.2", "127.0.0.[2..4;10]", "127.[0..255].0.[1;2;3]")
    }

    @Test("a string of 1 MiB is read, told in short, and refused where it is no value")
    func longString() {
        let long = String(repeating: "x.", count: 512 * 1024)
        let problems = read("[log]\nto = \"\(long)\"\n[host]\nrelays = [\"\(long)\"]\n").problems
        #expect(problems.map(\.keyPath) == ["log.to", "host.relays"])
        #expect(problems.allSatisfy { $0.description.utf8.count < 600 })
        #expect(read("# \(long)\n").problems == [])
    }

    @Test("10,000 unknown keys are 1,000 problems and a word on the others")
    func manyKeys() {
        let text = "[dkim]\n" + (0..<10_000).map { "key\($0) = \($0)\n" }.joined()
        let problems = read(text).problems
        #expect(problems.count == ValueReader.maxProblems + 1)
        #expect(problems.first?.keyPath == "dkim.key0")
        #expect(problems.last?.description.hasPrefix("postern.toml: expected fewer than 1000 problems") == true)
    }

    @Test("10,000 tables of keys are read")
    func manyTables() {
        let text = (0..<10_000).map { "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"s\($0)\"\nfile = \"f\"\n" }
        let result = read(text.joined(), for: .dns)
        #expect(result.problems == [])
    }

    @Test("values in each other have a cap", arguments: [("[", "]"), ("{a=", "}")])
    func depth(open: String, close: String) {
        func nested(_ count: Int) -> [String] {
            let value = String(repeating: open, count: count) + "1" + String(repeating: close, count: count)
            return read("[dkim]\nx = \(value)\n").problems.map(\.text)
        }
        #expect(nested(31) == ["expected a key of [dkim], found \"x\""])
        for count in [32, 1000, 100_000] {
            let texts = nested(count)
            #expect(texts.count == 1)
            #expect(texts.first?.contains("exceeded maximum nested value depth of 32") == true)
        }
        #expect(read(String(repeating: "[", count: 1000)).problems.count == 1)
        #expect(read("x = " + String(repeating: open, count: 1_000_000)).problems.count == 1)
    }

    @Test("the deepest document that the caps allow is read")
    func deepest() {
        let key = Array(repeating: "a", count: 16).joined(separator: ".")
        let value = (0..<30).reduce("1") { value, _ in "{ \(key) = \(value) }" }
        let problems = read("[dkim.a.b.c]\n\(key) = [\(value)]\n").problems.map(\.description)
        #expect(problems == ["postern.toml:1:7: dkim.a: expected a key of [dkim], found \"a\""])
    }

    @Test("parts of a key have a cap, wherever it stands")
    func dottedKeys() {
        let sixteen = Array(repeating: "a", count: 16).joined(separator: ".")
        let seventeen = sixteen + ".a"
        let many = sixteen + String(repeating: ".a", count: 1_000_000)
        for text in ["%@ = 1", "[%@]", "[[%@]]", "x = { %@ = 1 }", "x = [ { %@ = 1 } ]", "\"'\".x = '\"'\n%@ = 1"] {
            for (key, isCapped) in [(sixteen, false), (seventeen, true), (many, true)] {
                let problems = read(text.replacing("%@", with: key)).problems.map(\.text)
                let capped = problems == ["expected TOML 1.0, found: a key of more than 16 parts"]
                #expect(capped == isCapped, "\(text) \(key.prefix(40))")
            }
        }
        // Dots in strings and comments are no parts of keys.
        for text in [
            "# \(many)", "\"\(many)\" = 1", "x = '\(many)'", "x = \"\"\"\n\"\(many)\"\"\"\"", "x = '''\n'\(many)'''",
        ] {
            #expect(!read(text).problems.contains { $0.text.contains("more than 16 parts") }, "\(text.prefix(20))")
        }
    }

    @Test("octets that are no UTF-8, and characters that TOML does not take")
    func octets() {
        for (octets, place) in [
            (Array("[host]\nname = \"".utf8) + [0xC3, 0x28, 0x22], 2), ([0xFF], 1), ([0x61, 0x3D, 0xE4], 1),
            ([0xEF, 0xBB, 0xBF, 0x00], 1), (Array("x = \"a\u{1}\"".utf8), 1), (Array("ä = 1".utf8), 1),
            (Array("x = 1ä".utf8), 1), (Array("x = \"\"\"\\ä\"\"\"".utf8), 1), (Array("\u{2003}x = 1".utf8), 1),
        ] {
            let problems = read(octets).problems
            #expect(problems.map(\.line) == [place], "\(octets)")
            #expect(problems.first?.text.hasPrefix("expected TOML 1.0, found: ") == true, "\(problems)")
        }
        #expect(read([0xEF, 0xBB, 0xBF] + Array("[dkim]\nverify = true".utf8)).problems == [])  // a byte order mark
    }
}
