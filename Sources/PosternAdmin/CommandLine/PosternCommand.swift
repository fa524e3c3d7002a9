// The tree of subcommands and what all of them share. A new subcommand is a file in Commands/ and a word in a list
// here.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

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
              postern doctor
              postern status
              postern dkim genkey --domain example.com --selector 2026q4
              postern dkim testkey
              postern dkim verify message.eml
              postern spf --client 192.0.2.1 --helo mx.example.com --sender ann@example.com
              postern dmarc example.com
              postern judge --client 192.0.2.1 --helo mx.example.com \\
                  --sender ann@example.com message.eml
              postern dns query 2026q4._domainkey.example.com TXT
              postern explain --client 192.0.2.1 --helo mx.example.com \\
                  --sender ann@example.com --recipient bo@example.net
              postern dnsbl status
              postern greylist list
              postern limit list --over
              postern events --follow
              postern metrics --listen 127.0.0.1:9154
              postern why 4cXk2J1hz
              postern report --since 7d
              postern replay --since 7d --config new.toml
              postern import postscreen /etc/postfix/main.cf
              postern store stats
              postern backup create
              postern help dkim verify

            EXIT STATUS
              0   done
              1   a negative finding where a script would ask: no signature passes,
                  a key is not published, SPF fails, there is no DMARC policy,
                  a message would not be accepted, something would break mail
              64  the command line is wrong
              65  the data given is wrong: no message, no key
              69  something needed is not there: a file, a socket, a DNS answer
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """,
        version: DaemonArguments.versionText(program: "postern"),
        subcommands: [
            CheckCommand.self, DoctorCommand.self, ShowCommand.self, StatusCommand.self, ReloadCommand.self,
            DKIMCommand.self, SPFCheck.self, DMARCDiscovery.self, JudgeCommand.self, DNSCommand.self, ExplainCommand.self,
            DNSBLCommand.self, GreylistCommand.self, LimitCommand.self, EventsCommand.self, ImportCommand.self,
            StoreCommand.self,
            MetricsCommand.self, WhyCommand.self, ReportCommand.self, BackupCommand.self, ReplayCommand.self, ManualCommand.self,
        ])
}

/// `postern dkim`.
struct DKIMCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "dkim",
        abstract: "Makes DKIM keys, signs and verifies (RFC 6376, RFC 8463).",
        discussion: """
            A key is made by genkey, published by putting the record that it prints into the zone, and used by adding \
            the block that it prints to the configuration. testkey tells at any time whether receivers find what they \
            need.

            EXAMPLES
              postern dkim genkey --domain example.com --selector 2026q4
              postern dkim testkey --key keys/example.com/2026q4.pem \\
                  --domain example.com --selector 2026q4
              postern dkim sign message.eml | postern dkim verify -

            EXIT STATUS
              0   done
              1   a negative finding: no signature passes, a key is not published, no
                  key signs for the author
              64  the command line is wrong
              65  the data given is wrong: no message, no key
              69  something needed is not there: a file, a DNS answer
              78  the configuration is wrong
            """,
        subcommands: [
            DKIMGenkey.self, DKIMRotate.self, DKIMRecord.self, DKIMTestkey.self, DKIMKeys.self, DKIMSign.self,
            DKIMVerify.self,
        ])
}

/// `postern dns`.
struct DNSCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "dns",
        abstract: "Asks DNS the way the daemons do.",
        discussion: """
            query asks postern-dns, as the daemons do; --resolver asks another server. stats and flush, and query --trace, \
            ask over its control socket.

            EXAMPLES
              postern dns query example.com MX
              postern dns stats
              postern dns flush --zone example.com

            EXIT STATUS
              0   answered, done
              64  the command line is wrong
              69  nobody could tell
              78  the configuration is wrong
            """,
        subcommands: [DNSQuery.self, DNSStats.self, DNSFlush.self])
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

extension PosternCommand {
    /// The help of one command.
    struct Help: Hashable, Sendable {
        /// How it is called, without the program's name.
        var words: [String]
        var abstract: String
        /// Whether it does something, and has no commands below it.
        var isSubcommand: Bool
        var text: String
    }

    /// What to say when a word stands where a subcommand should; nil when none does.
    static func unknownSubcommand(in arguments: [String]) -> String? {
        var words = ["postern"]
        var group: any ParsableCommand.Type = PosternCommand.self
        var rest = arguments[...]
        while let word = rest.popFirst() {
            let count = GlobalOptions.wordsOfOption(word)
            if count > 0 {
                rest = rest.dropFirst(count - 1)
                continue
            }
            let names = group.configuration.subcommands.compactMap { $0.configuration.commandName }
            guard !names.isEmpty, !word.hasPrefix("-"), words.count > 1 || word != "help" else { return nil }
            guard let next = group.configuration.subcommands.first(where: { $0.configuration.commandName == word })
            else {
                return "expected a subcommand of \(words.joined(separator: " ")), one of "
                    + "\(names.joined(separator: ", ")); found \"\(LogText.escaped(word.utf8))\""
            }
            words.append(word)
            group = next
        }
        return nil
    }

    /// The help of every command, each group before what is below it.
    static func help(columns: Int) -> [Help] {
        func below(_ words: [String], _ type: any ParsableCommand.Type) -> [Help] {
            let own = Help(
                words: words, abstract: type.configuration.abstract, isSubcommand: type is any Subcommand.Type,
                text: helpMessage(for: type, columns: columns))
            return [own]
                + type.configuration.subcommands.flatMap { below(words + [$0.configuration.commandName ?? ""], $0) }
        }
        return below([], PosternCommand.self)
    }
}

extension CommandFailure {
    /// What `validate` has looked at already.
    init(_ error: ValidationError) { self.init(.usage, error.message) }
}

extension GlobalOptions {
    /// These options with the configuration that an argument names, if one does.
    func naming(_ file: String?) throws(ValidationError) -> GlobalOptions {
        guard let file else { return self }
        guard config == nil else { throw ValidationError("expected a file or --config, found both") }
        var options = self
        options.config = file
        return options
    }

    /// How many words a global option that begins with this one has; 0 if it is none.
    static func wordsOfOption(_ word: String) -> Int {
        if word == "--config" || word == "--resolver" { return 2 }
        return word == "--json" || word.hasPrefix("--config=") || word.hasPrefix("--resolver=") ? 1 : 0
    }

    /// The words with global options that stand before the subcommand put behind it, where ArgumentParser looks for
    /// them: `postern --json dkim verify FILE` is `postern dkim verify --json FILE`.
    static func movedToSubcommand(_ words: [String]) -> [String] {
        var rest = words[...]
        var moved: [String] = []
        var path: [String] = []
        var group: any ParsableCommand.Type = PosternCommand.self
        while let word = rest.first {
            let count = wordsOfOption(word)
            if count > 0 {
                moved += rest.prefix(count)
                rest = rest.dropFirst(count)
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
