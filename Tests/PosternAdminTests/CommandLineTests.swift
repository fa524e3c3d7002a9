// The words of a command line: what is usage, what is help, where global options may stand.

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
            ["dkim", "record", "key.pem"],
            ["dkim", "sign", "m", "--key", "key.pem"], ["dkim", "sign", "m", "--key", "example.com:s:"],
            ["dkim", "sign", "m", "--key", "key.pem", "--domain", "example.com"],
            ["dkim", "sign", "m", "--key", "a", "--key", "b", "--domain", "example.com", "--selector", "s"],
            ["dkim", "sign", "m", "--canonicalization", "strict"],
            ["dkim", "sign", "m", "--canonicalization", "relaxed/relaxed/relaxed"],
            ["dkim", "sign", "m", "--expire", "soon"], ["dkim", "sign", "m", "--sign-header-fields", "To;x"],
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
        "help and version are done, on standard output",
        arguments: [
            (["--version"], "postern 0.1.0\n"), (["--help"], "EXIT STATUS"),
            (["help", "dkim", "sign"], "--canonicalization"),
            (["dkim", "--help"], "genkey"), (["dkim", "verify", "--help"], "key_bits"), (["check", "-h"], "--config"),
            (["dns", "query", "--help"], "temperror"), (["dkim", "record", "--help"], "strings"),
        ])
    func help(arguments: [String], expected: String) throws {
        let result = try Postern().run(arguments)
        #expect(result.status == 0)
        #expect(result.text.contains(expected))
        #expect(result.text.hasSuffix("\n") && !result.text.hasSuffix("\n\n"))
        #expect(result.output.notes.isEmpty)
    }

    @Test(
        "every subcommand has an abstract, takes the global options, and documents its statuses",
        arguments: [
            ["check"], ["dkim", "genkey"], ["dkim", "record"], ["dkim", "sign"], ["dkim", "verify"], ["dns", "query"],
        ])
    func documented(path: [String]) throws {
        let text = try Postern().run(path + ["--help"]).text
        for word in ["OVERVIEW: ", "EXAMPLES", "EXIT STATUS", "--config <file>", "--json", "--resolver <resolver>"] {
            #expect(text.contains(word), "\(word) is missing")
        }
        // What is laid out by hand is indented: a broken line of it would go on at the margin.
        let layout = text.split(separator: "\nEXAMPLES\n").last?.split(separator: "\n\nUSAGE: ").first ?? ""
        let lines = layout.split(separator: "\n")
        #expect(lines.count > 4 && lines.allSatisfy { $0.hasPrefix("  ") || $0 == "EXIT STATUS" }, "\(lines)")
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
