// `postern import` for programs whose own configuration file is read: OpenDKIM, OpenDMARC, policyd-spf, postgrey, anvil's
// part of main.cf and postfwd.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

/// Where files that settings name are looked for.
struct ImportRoot: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Look for files that it names below this folder, such as another host's.", valueName: "folder"))
    var root: String?

    /// Whether there is such a file.
    func exists(_ name: String) -> Bool { Files.exists((root ?? "") + name) }

    /// Reads a file that a setting names.
    func reader(in surroundings: Surroundings) -> (String) throws(ImportRefusal) -> [UInt8] {
        { name throws(ImportRefusal) in
            do throws(CommandFailure) {
                return try surroundings.read((root ?? "") + name, atMost: ImportedText.maxOctets)
            } catch {
                throw ImportRefusal(reason: error.text)
            }
        }
    }
}

/// An import of one file.
protocol FileImport: Subcommand {
    var options: GlobalOptions { get }
    var file: String { get }
    /// - Throws: where the file holds nothing of the kind.
    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) throws(CommandFailure)
        -> ImportedSettings
}

extension FileImport {
    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let octets = try surroundings.read(file, atMost: ImportedText.maxOctets)
        let name = file == "-" ? "standard input" : file
        return CommandOutput(try settings(of: octets, name: name, in: surroundings), json: options.json)
    }
}

/// The part of a help text that all of them share.
private let importStatus = """
    EXIT STATUS
      0   everything was carried over
      1   something was left out
      64  the command line is wrong
      65  the file holds nothing of the kind, or is too large
      69  the file cannot be read
    """

struct ImportOpenDKIM: FileImport {
    static let configuration = CommandConfiguration(
        commandName: "opendkim",
        abstract: "Makes [dkim], its keys and [host] of opendkim.conf.",
        usage: "postern import opendkim [--root <folder>] [--keys <folder>] [<file>]",
        discussion: """
            Reads KeyTable, SigningTable and lists of hosts as well, from files and from values; databases are left \
            out. The same mail gets signatures of the same domains and selectors: where OpenDKIM takes the first line \
            that matches and several keys would sign here, that is told. Keys stay where they are, unless --keys says \
            where copies are; they must be readable for postern-dkim.

            EXAMPLES
              postern import opendkim >> /etc/postern/postern.toml
              postern import opendkim --root /mnt/oldhost /mnt/oldhost/etc/opendkim.conf

            \(importStatus)

            FILES
              /etc/opendkim.conf
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ImportRoot
    @OptionGroup var copies: ImportKeyPlace
    @Argument(help: "opendkim.conf; - for standard input.") var file = "/etc/opendkim.conf"

    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) -> ImportedSettings {
        OpenDKIMSettings.settings(
            of: octets, file: name, keys: copies.keys(below: place.root), reading: place.reader(in: surroundings))
    }
}

struct ImportOpenDMARC: FileImport {
    static let configuration = CommandConfiguration(
        commandName: "opendmarc",
        abstract: "Makes [dmarc] and [host] of opendmarc.conf.",
        usage: "postern import opendmarc [--root <folder>] [<file>]",
        discussion: """
            Also what OpenDMARC does without being told: it refuses nothing unless RejectFailures says so. \
            Organizational domains are found in DNS from now on, as RFC 9989 has it.

            EXAMPLES
              postern import opendmarc

            \(importStatus)

            FILES
              /etc/opendmarc.conf
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ImportRoot
    @Argument(help: "opendmarc.conf; - for standard input.") var file = "/etc/opendmarc.conf"

    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) -> ImportedSettings {
        OpenDMARCSettings.settings(of: octets, file: name, reading: place.reader(in: surroundings))
    }
}

struct ImportPolicydSPF: FileImport {
    static let configuration = CommandConfiguration(
        commandName: "policyd-spf",
        abstract: "Makes [spf] of policyd-spf.conf.",
        usage: "postern import policyd-spf [<file>]",
        discussion: """
            policyd-spf refuses mail by SPF's fail unless it is told otherwise, and so does what is printed; DMARC \
            makes that needless, and forwarded mail suffers from it.

            EXAMPLES
              postern import policyd-spf

            \(importStatus)

            FILES
              /etc/postfix-policyd-spf-python/policyd-spf.conf
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "policyd-spf.conf; - for standard input.")
    var file = "/etc/postfix-policyd-spf-python/policyd-spf.conf"

    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) -> ImportedSettings {
        PolicydSPFSettings.settings(of: octets, file: name)
    }
}

struct ImportPostgrey: FileImport {
    static let configuration = CommandConfiguration(
        commandName: "postgrey",
        abstract: "Makes [greylist] of postgrey's options and whitelists.",
        usage: "postern import postgrey [--root <folder>] [<file>]",
        discussion: """
            Reads POSTGREY_OPTS as Debian's service does, and the whitelists that the options name, else those in \
            /etc/postgrey. Clients that postgrey knows are in its database, which contrib/doc/migration.md carries over.

            EXAMPLES
              postern import postgrey

            \(importStatus)

            FILES
              /etc/default/postgrey
              /etc/postgrey/whitelist_clients, whitelist_clients.local
              /etc/postgrey/whitelist_recipients, whitelist_recipients.local
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ImportRoot
    @Argument(help: "A file with POSTGREY_OPTS; - for standard input.") var file = "/etc/default/postgrey"

    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) -> ImportedSettings {
        Self.settings(of: octets, name: name, exists: place.exists, reading: place.reader(in: surroundings))
    }

    static func settings(
        of octets: [UInt8], name: String, exists: (String) -> Bool,
        reading read: (String) throws(ImportRefusal) -> [UInt8]
    ) -> ImportedSettings {
        var options = PostgreySettings(octets, file: name)
        var files: [PostgreyWhitelist.File] = []
        for (path, kind, line) in options.whitelists {
            do throws(ImportRefusal) {
                files.append(PostgreyWhitelist.File(name: path, kind: kind, octets: try read(path)))
            } catch { options.leave(line, error.reason) }
        }
        if options.whitelists.isEmpty {
            // Not all of them need be there.
            for (path, kind) in PostgreySettings.usualWhitelists where exists(path) {
                do throws(ImportRefusal) {
                    files.append(PostgreyWhitelist.File(name: path, kind: kind, octets: try read(path)))
                } catch { options.leave(ImportedLine(file: path, number: 1, text: "(all)"), error.reason) }
            }
        }
        return PostgreyWhitelist.settings(of: files, options)
    }
}

struct ImportAnvil: FileImport {
    static let configuration = CommandConfiguration(
        commandName: "anvil",
        abstract: "Makes [[limit]] of Postfix's smtpd_client_..._rate_limit.",
        usage: "postern import anvil <file>",
        discussion: """
            Reads main.cf or what postconf prints. The limits count in fixed windows, as anvil does. What anvil counts \
            before there is a recipient stays with it: sessions at once, TLS handshakes, failed logins.

            EXAMPLES
              postconf -nx | postern import anvil -

            \(importStatus)

            FILES
              /etc/postfix/main.cf
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "main.cf; - for standard input.") var file: String

    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) throws(CommandFailure)
        -> ImportedSettings
    {
        guard let settings = AnvilLimits.settings(of: octets, file: name) else {
            throw CommandFailure(
                .badData,
                "\(LogText.escaped(Array(name.utf8))): expected a limit such as smtpd_client_message_rate_limit, found none"
            )
        }
        return settings
    }
}

struct ImportPostfwd: FileImport {
    static let configuration = CommandConfiguration(
        commandName: "postfwd",
        abstract: "Makes [[rule]], [[limit]] and [[dnsbl.list]] of postfwd's rules.",
        usage: "postern import postfwd <file>",
        discussion: """
            Puts macros in and carries over what both have: items of the request, Postfix's actions, score, rate, \
            size, rcpt, and lists that refuse by themselves. Jumps, variables, comparisons of attributes and programs \
            are left out, with the rule's name and line.

            EXAMPLES
              postern import postfwd /etc/postfix/postfwd.cf

            \(importStatus)

            FILES
              /etc/postfix/postfwd.cf
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "A ruleset; - for standard input.") var file: String

    func settings(of octets: [UInt8], name: String, in surroundings: Surroundings) -> ImportedSettings {
        PostfwdRules.settings(of: octets, file: name)
    }
}
