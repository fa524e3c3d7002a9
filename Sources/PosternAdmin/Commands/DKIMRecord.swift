// `postern dkim record`: what to publish for a private key that is there already.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDaemon

struct DKIMRecord: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Prints the TXT record of a private key.",
        usage: """
            postern dkim record [<options>] --domain <domain> --selector <selector>
                [<file>]
            """,
        discussion: """
            Without <file>, the key is the one that the configuration names for this domain and selector. The record \
            is printed as lines for a zone file, or with --json as
              {"name":"2026q4._domainkey.example.com","type":"txt",
              "value":"v=DKIM1; …","strings":["v=DKIM1; …","…"]}
            where strings are the value in pieces of at most 255 octets, which is what DNS has room for.

            EXAMPLES
              postern dkim record --domain example.com --selector 2026q4
              postern dkim record key.pem --domain example.com --selector 2026q4 --json

            EXIT STATUS
              0   done
              64  the command line is wrong
              65  <file> holds no private key for DKIM
              69  <file> cannot be read
              78  the configuration is wrong, or has no such key

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Option(help: "The domain that signs, d=.") var domain: String
    @Option(help: "The selector, s=.") var selector: String
    @Argument(help: "The private key, PEM; - for standard input.") var file: String?

    func validate() throws { _ = try DKIMKeyName(domain: domain, selector: selector) }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let name = try keyName(domain: domain, selector: selector)
        let key =
            if let file { try surroundings.privateKey(file) } else { try options.configuredKey(name, in: surroundings) }
        let record = try DKIMKeyPublication(name: name, key: key)
        return options.json ? CommandOutput(json: record.json) : CommandOutput(text: record.zoneText)
    }
}
