// The tree of subcommands and what all of them share. A new subcommand is a file in Commands/ and a word in a list
// here.

internal import ArgumentParser
internal import PosternDaemon

/// The root: `postern`.
struct PosternCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "postern",
        abstract: "Looks after Postern, the daemons beside Postfix.",
        discussion: """
            Every subcommand calls what the daemons call, so that what it shows is what they would do.

            Every subcommand takes --config FILE, --json and --resolver ADDRESS:PORT or unix:PATH; they may also stand \
            before it.

            EXAMPLES
              postern check
              postern dkim genkey --domain example.com --selector 2026q4
              postern dkim verify message.eml
              postern dns query 2026q4._domainkey.example.com TXT

            EXIT STATUS
              0   done
              1   a negative finding where a script would ask: no signature passes
              64  the command line is wrong
              65  the data given is wrong: no message, no key
              69  something needed is not there: a file, a socket, a DNS answer
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """,
        version: DaemonArguments.versionText(program: "postern"),
        subcommands: [
            CheckCommand.self, ShowCommand.self, StatusCommand.self, ReloadCommand.self, DKIMCommand.self,
            DNSCommand.self,
        ])
}

/// `postern dkim`.
struct DKIMCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "dkim",
        abstract: "Makes DKIM keys, signs and verifies (RFC 6376, RFC 8463).",
        discussion: """
            A key is made by genkey, published by putting the record that it prints into the zone, and used by adding \
            the block that it prints to the configuration.
            """,
        subcommands: [
            DKIMGenkey.self, DKIMRecord.self, DKIMTestkey.self, DKIMKeys.self, DKIMSign.self, DKIMVerify.self,
        ])
}

/// `postern dns`.
struct DNSCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "dns",
        abstract: "Asks DNS the way the daemons do.",
        subcommands: [DNSQuery.self])
}

/// A word that needs another after it.
protocol SubcommandGroup: ParsableCommand {}

/// A subcommand that does something.
protocol Subcommand: ParsableCommand {
    /// Does the work. Nothing is printed here.
    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput
}

/// What every subcommand takes.
struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Read the configuration from <file>.", valueName: "file"))
    var config: String?

    @Flag(help: "Print JSON: values in lower case, null where nothing is known.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Ask this DNS server instead of postern-dns: ADDRESS, ADDRESS:PORT or unix:PATH.", valueName: "resolver"),
        transform: { text in
            do throws(ResolverError) { return try Resolver(text) } catch { throw ValidationError(error.description) }
        })
    var resolver: Resolver?
}

extension GlobalOptions {
    /// The words with global options that stand before the subcommand put behind it, where ArgumentParser looks for
    /// them: `postern --json dkim verify FILE` is `postern dkim verify --json FILE`.
    static func movedToSubcommand(_ words: [String]) -> [String] {
        var rest = words[...]
        var moved: [String] = []
        var path: [String] = []
        var group: any ParsableCommand.Type = PosternCommand.self
        while let word = rest.first {
            if word == "--json" || word.hasPrefix("--config=") || word.hasPrefix("--resolver=") {
                moved.append(word)
                rest = rest.dropFirst()
            } else if word == "--config" || word == "--resolver" {
                moved += rest.prefix(2)
                rest = rest.dropFirst(2)
            } else if let next = group.configuration.subcommands.first(where: { $0.configuration.commandName == word })
            {
                path.append(word)
                group = next
                rest = rest.dropFirst()
            } else {
                break
            }
        }
        return path + moved + rest
    }
}
