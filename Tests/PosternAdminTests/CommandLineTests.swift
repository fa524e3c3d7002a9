// The words of a command line: what is usage, what is help, where global options may stand.

import PosternDaemon
import Testing

@testable import PosternAdmin

@Suite("command line") struct CommandLineTests {
    @Test(
        "wrong usage is 64, says what was expected, and prints nothing",
        arguments: [
            [], ["dkim"], ["dns"], ["--json"], ["nonsense"], ["dkim", "nonsense"], ["check", "a", "b"],
            ["check", "a", "--config", "b"], ["check", "--config"], ["dkim", "verify"],
            ["dkim", "verify", "a", "--now", "x"],
            ["dkim", "verify", "a", "--resolver", "nobody"], ["dkim", "genkey", "--domain", "example.com"],
            ["dkim", "genkey", "--domain", "example", "--selector", "s"],
            ["dkim", "genkey", "--domain", "exa mple.com", "--selector", "s"],
            ["dkim", "genkey", "--domain", "example.com", "--selector", "../../x"],
            ["dkim", "genkey", "--domain", "example.com", "--selector", "a/b"],
            ["dkim", "genkey", "--domain", "example.com", "--selector", ""],
            ["dkim", "genkey", "--domain", "example.com", "--selector", "s", "--bits", "512"],
            ["dkim", "genkey", "--domain", "example.com", "--selector", "s", "--bits", "8192"],
            ["dkim", "genkey", "--domain", "example.com", "--selector", "s", "--bits", "2048", "--ed25519"],
            ["dkim", "genkey", "--domain", "example.com", "--selector", "s", "--out", ""],
            ["dkim", "record", "key.pem"], ["dkim", "keys", "x"], ["show", "x", "y"], ["show", "--some"],
            ["show", "x", "--config", "y"],
            ["dkim", "testkey", "a", "b", "c"], ["dkim", "testkey", "example"],
            ["dkim", "testkey", "example.com", "a/b"],
            ["dkim", "testkey", "--key", "f"], ["dkim", "testkey", "--domain", "example.com", "--selector", "s"],
            ["dkim", "testkey", "--key", "f", "--domain", "example.com"],
            ["dkim", "testkey", "example.com", "--key", "f", "--domain", "example.com", "--selector", "s"],
            ["dkim", "sign", "m", "--key", "key.pem"], ["dkim", "sign", "m", "--key", "example.com:s:"],
            ["dkim", "sign", "m", "--key", "key.pem", "--domain", "example.com"],
            ["dkim", "sign", "m", "--key", "a", "--key", "b", "--domain", "example.com", "--selector", "s"],
            ["dkim", "sign", "m", "--canonicalization", "strict"],
            ["dkim", "sign", "m", "--canonicalization", "relaxed/relaxed/relaxed"],
            ["dkim", "sign", "m", "--expire", "soon"], ["dkim", "sign", "m", "--sign-header-fields", "To;x"],
            ["spf"], ["spf", "--client", "192.0.2.1", "--helo", "a.example"],
            ["spf", "--client", "192.0.2.300", "--helo", "a.example", "--sender", "a@b.example"],
            ["spf", "--client", "", "--helo", "a.example", "--sender", "a@b.example"],
            ["spf", "--client", "mx.example.com", "--helo", "a.example", "--sender", "a@b.example"],
            ["judge"], ["judge", "--client", "192.0.2.1", "--helo", "a.example", "--sender", "a@b.example"],
            ["judge", "--client", "x", "--helo", "a.example", "--sender", "a@b.example", "m"],
            ["spf", "--lint"], ["spf", "--lint", "a..b"],
            ["spf", "--lint", "a.example", "--client", "192.0.2.1"],
            ["spf", "--lint", "a.example", "--engine", "libspf2"],
            ["spf", "--client", "192.0.2.1", "--helo", "a.example", "--sender", "a@b.example", "--engine", "x"],
            ["dmarc", "a.example", "--discovery", "tree"], ["dmarc"], ["dmarc", "."], ["dmarc", "a..b"], ["dmarc", ""],
            ["dmarc", "a.example", "b.example"],
            ["why"], ["why", "NOQUEUE"], ["why", "4cXk2J1hz", "--client", "192.0.2.7"], ["why", "--log", "f"],
            ["why", "4cXk2J1hz", "--message-id", "a@b.example"], ["why", "4cXk2J1hz", "--journal", "--log", "f"],
            ["report", "--since", "soon"], ["report", "--since", "2026-13-01"], ["report", "--top", "0"],
            ["report", "x"], ["report", "--json", "--html", "-"], ["report", "--until", "2026-11-21 25:00"],
            ["dns", "query"], ["dns", "query", "a..b"], ["dns", "query", "example.com", "WORDS"],
        ] as [[String]])
    func usage(arguments: [String]) throws {
        let result = try Postern().run(arguments)
        #expect(result.status == 64)
        #expect(result.text.isEmpty)
        #expect(result.notes.hasPrefix("error: "))
        #expect(!result.notes.contains("Error:"))
    }

    @Test(
        "a word that is no subcommand is told with those that are",
        arguments: [
            (
                ["chekc"],
                "postern, one of check, doctor, show, status, reload, dkim, spf, dmarc, judge, dns, explain, dnsbl, greylist, limit, events, import, store, metrics, why, report, backup, replay, manual; found \"chekc\""
            ),
            (
                ["dkim", "testkeys"],
                "postern dkim, one of genkey, rotate, record, testkey, keys, sign, verify; found \"testkeys\""
            ),
            (["--json", "dns", "q\u{1B}"], "postern dns, one of query, stats, flush; found \"q\\x1B\""),
        ])
    func unknown(words: [String], expected: String) throws {
        let result = try Postern().run(words)
        #expect(result.status == 64)
        #expect(result.notes == "error: expected a subcommand of \(expected)")
    }

    @Test(
        "help and version are done, on standard output",
        arguments: [
            (["--version"], "postern 0.1.0\n"), (["--help"], "EXIT STATUS"),
            (["help", "dkim", "sign"], "--canonicalization"),
            (["dkim", "--help"], "genkey"), (["dkim", "verify", "--help"], "key_bits"), (["check", "-h"], "--config"),
            (["dns", "query", "--help"], "temperror"), (["spf", "--help"], "postmaster"),
            (["dmarc", "--help"], "policy_domain"), (["judge", "--help"], "aligned_dkim"),
            (["dkim", "record", "--help"], "strings"),
        ])
    func help(arguments: [String], expected: String) throws {
        let result = try Postern().run(arguments)
        #expect(result.status == 0)
        #expect(result.text.contains(expected))
        #expect(result.text.hasSuffix("\n") && !result.text.hasSuffix("\n\n"))
        #expect(result.output.notes.isEmpty)
    }

    @Test("every command has an abstract, examples, and documents its statuses, on 80 columns") func documented() {
        let helps = PosternCommand.help(columns: 80)
        #expect(helps.count > 10)
        for help in helps {
            let (words, text, abstract) = (help.words, help.text, help.abstract)
            var sections = ["OVERVIEW: ", "\nEXAMPLES\n", "\nEXIT STATUS\n"]
            if help.isSubcommand { sections += ["\nFILES\n", "--config <file>", "--json", "--resolver <resolver>"] }
            for section in sections { #expect(text.contains(section), "\(words): \(section) is missing") }
            #expect(abstract.hasSuffix(".") && abstract.first?.isUppercase == true, "\(words): \(abstract)")
            for line in text.split(separator: "\n") { #expect(line.count <= 80, "\(words): \(line)") }
            // What is laid out by hand is indented: a broken line of it would go on at the margin.
            let layout = text.split(separator: "\nEXAMPLES\n").last?.split(separator: "\n\nUSAGE: ").first ?? ""
            let lines = layout.split(separator: "\n")
            let isLaidOut = lines.allSatisfy { $0.hasPrefix("  ") || ["EXIT STATUS", "FILES"].contains($0) }
            #expect(lines.count > 3 && isLaidOut, "\(words): \(lines)")
        }
    }

    @Test("every status that a help text documents is one, in order") func statuses() {
        let known = Set(ExitStatus.allCases.map(\.rawValue))
        for help in PosternCommand.help(columns: 80) {
            let words = help.words
            let section = help.text.split(separator: "\nEXIT STATUS\n").last
            let lines = section?.split(separator: "\n\n").first?.split(separator: "\n") ?? []
            let numbers = lines.compactMap { $0.split(separator: " ").first.flatMap { Int32($0) } }
            #expect(numbers == numbers.sorted() && known.isSuperset(of: numbers), "\(words): \(numbers)")
            #expect(numbers.starts(with: [0]) && numbers.contains(64), "\(words): \(numbers)")
        }
    }

    @Test(
        "global options may stand before the subcommand",
        arguments: [
            (["--json", "check", "x"], ["check", "--json", "x"]),
            (
                ["--config", "f", "dkim", "--resolver=::1", "verify", "x"],
                ["dkim", "verify", "--config", "f", "--resolver=::1", "x"]
            ),
            (["dkim", "verify", "--json", "x"], ["dkim", "verify", "--json", "x"]),
            (["check", "check"], ["check", "check"]),
            (["check", "--", "--json"], ["check", "--", "--json"]),
            (["--config"], ["--config"]),
            (["dkim", "verify", "dns"], ["dkim", "verify", "dns"]),
        ])
    func moved(words: [String], expected: [String]) {
        #expect(GlobalOptions.movedToSubcommand(words) == expected)
    }
}
