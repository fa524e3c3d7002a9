// `postern import`: what other programs were told to do, as a piece of our configuration.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

/// `postern import`.
struct ImportCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Makes configuration of what other programs were told.",
        discussion: """
            Prints TOML for the configuration on standard output, and on standard error everything that is not in it, \
            with its line and the reason. Nothing is changed; a table that the configuration has already is to be \
            merged by hand. postern check takes what is printed.

            EXAMPLES
              postern import all --keys /etc/postern/keys > /tmp/postern.toml
              postern import opendkim /etc/opendkim.conf
              postern import postgrey-whitelist /etc/postgrey/whitelist_*
              postconf -nx | postern import postscreen -

            EXIT STATUS
              0   everything was carried over
              1   something was left out
              64  the command line is wrong
              65  the file holds nothing of the kind, or is too large
              69  the file cannot be read
            """,
        subcommands: [
            ImportAll.self, ImportOpenDKIM.self, ImportOpenDMARC.self, ImportPolicydSPF.self, ImportPostgrey.self,
            ImportPostgreyWhitelist.self, ImportPostscreen.self, ImportAnvil.self, ImportPostfwd.self,
        ])
}

struct ImportPostgreyWhitelist: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "postgrey-whitelist",
        abstract: "Makes [greylist] skip lists of postgrey's whitelists.",
        usage: "postern import postgrey-whitelist [--clients | --recipients] <file> ...",
        discussion: """
            Whether a file is of clients or of recipients is told by its name, as long as that holds one of these \
            words, or by the option for all of them. Expressions that cannot be matched in linear time, such as those \
            with look-ahead, are left out.

            With --json, one object on one line:
              {"toml":"[greylist]\\n…","left_out":[{"file":"clients","line":3,
              "entry":"/(?!a)b/","text":"expected …"}],"warnings":[]}

            EXAMPLES
              postern import postgrey-whitelist /etc/postgrey/whitelist_*
              postern import postgrey-whitelist --clients allowed.txt

            EXIT STATUS
              0   everything was carried over
              1   something was left out
              64  the command line is wrong
              65  a file is too large
              69  a file cannot be read

            FILES
              /etc/postgrey/whitelist_clients
              /etc/postgrey/whitelist_recipients
            """)

    @OptionGroup var options: GlobalOptions
    @Flag(help: "The files are of clients.") var clients = false
    @Flag(help: "The files are of recipients.") var recipients = false
    @Argument(help: "The whitelists; - for standard input.") var files: [String]

    func validate() throws {
        guard !(clients && recipients) else {
            throw ValidationError("expected --clients or --recipients, found both")
        }
        for file in files where kind(of: file) == nil {
            throw ValidationError(
                "expected --clients or --recipients, since a file's name tells neither: "
                    + LogText.escaped(Array(file.utf8)))
        }
    }

    private func kind(of file: String) -> PostgreyWhitelist.Kind? {
        if clients { return .clients }
        if recipients { return .recipients }
        let name = file.split(separator: "/").last ?? ""
        if name.contains("client") { return .clients }
        return name.contains("recipient") ? .recipients : nil
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        var read: [PostgreyWhitelist.File] = []
        for file in files {
            guard let kind = kind(of: file) else { continue }  // `validate` has refused it
            let octets = try surroundings.read(file, atMost: ImportedText.maxOctets)
            read.append(PostgreyWhitelist.File(name: file, kind: kind, octets: octets))
        }
        return CommandOutput(PostgreyWhitelist.settings(of: read), json: options.json)
    }
}

struct ImportPostscreen: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "postscreen",
        abstract: "Makes [dnsbl] of postscreen's DNS lists.",
        usage: "postern import postscreen [<options>] <file>",
        discussion: """
            Reads main.cf or what postconf prints, of which postscreen_dnsbl_sites and the parameters beside it count; \
            postscreen_dnsbl_threshold is reject_score. An entry without a filter stands for every answer in \
            127.0.0.0/8 but 127.0.0.1 and 127.255.0.0/16. Query keys in zones are printed on standard output, since \
            the configuration needs them, and nowhere else.

            With --json, one object on one line:
              {"toml":"[dnsbl]\\n…","left_out":[{"file":"main.cf","line":7,
              "entry":"$lists","text":"expected …"}],"warnings":[]}

            EXAMPLES
              postern import postscreen /etc/postfix/main.cf
              postconf -nx | postern import postscreen -

            EXIT STATUS
              0   everything was carried over
              1   something was left out
              64  the command line is wrong
              65  there are no such parameters, or the file is too large
              69  the file cannot be read

            FILES
              /etc/postfix/main.cf
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "main.cf; - for standard input.") var file: String

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let octets = try surroundings.read(file, atMost: ImportedText.maxOctets)
        let name = file == "-" ? "standard input" : file
        guard let settings = PostscreenLists.settings(of: octets, file: name) else {
            throw CommandFailure(
                .badData, "\(LogText.escaped(Array(name.utf8))): expected postscreen_dnsbl_sites, found none")
        }
        return CommandOutput(settings, json: options.json)
    }
}

extension CommandOutput {
    init(_ settings: ImportedSettings, json: Bool) {
        let status: ExitStatus = settings.leftOut.isEmpty ? .done : .negative
        let notes =
            settings.leftOut.map { "\($0.place): left out: \($0.text)" }
            + settings.warnings.map { "warning: \($0.place): \($0.text)" }
        guard json else {
            self.init(text: settings.toml, notes: notes, status: status)
            return
        }
        self.init(
            json: [
                "toml": .text(settings.toml), "left_out": .list(settings.leftOut.map(\.json)),
                "warnings": .list(settings.warnings.map(\.json)),
            ], notes: notes, status: status)
    }
}

extension ImportRemark {
    /// `FILE:LINE: ENTRY`, without what a terminal would take for a command.
    fileprivate var place: String {
        let (file, text) = (LogText.escaped(Array(line.file.utf8)), LogText.escaped(Array(line.text.utf8)))
        return "\(file):\(line.number): \(text)"
    }

    fileprivate var json: JSONValue {
        ["file": .text(line.file), "line": .number(line.number), "entry": .text(line.text), "text": .text(text)]
    }
}
