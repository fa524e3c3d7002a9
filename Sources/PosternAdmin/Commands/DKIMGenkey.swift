// `postern dkim genkey`: a new private key in its file, the record for the zone, the block for the configuration.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

struct DKIMGenkey: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "genkey",
        abstract: "Makes a DKIM key and prints what to publish.",
        usage: "postern dkim genkey [<options>] --domain <domain> --selector <selector>",
        discussion: """
            Writes a new private key (PKCS #8, PEM, mode 0400) and prints its TXT record as lines for a zone file; \
            the lines that begin with ";" are comments and hold the block for the configuration. Run as root, the \
            file is given to \(KeyOwner.daemonUser), who alone may read it. Folders that are missing are made.

            Publish the record first, wait until the zone's servers have it, and only then add the block and reload: \
            until then receivers would see signatures without a key.

            EXAMPLES
              postern dkim genkey --domain example.com --selector 2026q4
              postern dkim genkey --domain example.com --selector e1 --ed25519 >> zone

            EXIT STATUS
              0   the key was made
              64  the command line is wrong
              69  the file could not be written, or is there and --force is not given

            FILES
              \(DaemonArguments.defaultConfiguration)
              keys/DOMAIN/SELECTOR.pem, in the folder of the configuration
            """)

    @OptionGroup var options: GlobalOptions
    @Option(help: "The domain that signs, d=.") var domain: String
    @Option(help: "The selector, s=: names this key among the domain's others.") var selector: String
    @Option(
        help:
            "Bits of an RSA key, from \(PrivateKey.minRSABits) to \(PrivateKey.maxRSABits). (default: \(KeyAdvice.goodRSABits))"
    )
    var bits: Int?
    @Flag(help: "Make an Ed25519 key (RFC 8463). Sign with an RSA key beside it: not all receivers know it.")
    var ed25519 = false
    @Option(
        help: ArgumentHelp(
            "Write the key to <file>. (default: keys/DOMAIN/SELECTOR.pem in the configuration's folder)",
            valueName: "file"))
    var out: String?
    @Flag(help: "Replace the file if there is one. Mail signed with the old key cannot be verified by the new record.")
    var force = false

    func validate() throws {
        if ed25519, bits != nil {
            throw ValidationError("expected --bits or --ed25519, found both; Ed25519 has one size")
        }
        if let bits, !(PrivateKey.minRSABits...PrivateKey.maxRSABits).contains(bits) {
            throw ValidationError(
                "--bits: expected \(PrivateKey.minRSABits) to \(PrivateKey.maxRSABits), found \(bits)")
        }
        if out?.isEmpty == true { throw ValidationError("--out: expected the path of a file, found \"\"") }
        _ = try DKIMKeyName(domain: domain, selector: selector)
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let name = try keyName(domain: domain, selector: selector)
        let folder = Files.folder(of: options.configPath)
        let path = out ?? Files.path("keys/\(name.domain)/\(name.selector).pem", below: folder)
        // Told before seconds are spent on a key; KeyFile makes sure.
        if !force, Files.exists(path) { throw CommandFailure(.exists(path: path)) }
        let made = try MadeKey(
            ed25519 ? .ed25519 : .rsa(bits: bits ?? KeyAdvice.goodRSABits), name, path: path,
            owner: surroundings.keyOwner(), replace: force)
        let notes = made.notes
        let block = Self.block(name, file: Self.configured(path, folder: folder))
        guard !options.json else {
            return CommandOutput(json: made.json, notes: notes)
        }
        let text =
            made.zoneText
            + ZoneText.comment(
                "Once the zone's servers have it, add this to \(options.configPath) and reload:\n\n\(block)")
        return CommandOutput(text: text, notes: notes)
    }

    /// A path as the configuration would name it.
    static func configured(_ path: String, folder: String) -> String {
        let prefix = folder.hasSuffix("/") ? folder : folder + "/"
        return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : path
    }

    /// The `[[dkim.key]]` block, without a line end after it.
    static func block(_ name: DKIMKeyName, file: String) -> String {
        """
        [[dkim.key]]
        domain = "\(name.domain)"
        selector = "\(name.selector)"
        file = \(JSONLine.quoted(file))
        """  // a JSON string is a TOML basic string (TOML 1.0, "String")
    }
}

/// The names on a command line, which `validate` has looked at already.
func keyName(domain: String, selector: String) throws(CommandFailure) -> DKIMKeyName {
    do throws(DKIMKeyNameError) { return try DKIMKeyName(domain: domain, selector: selector) } catch {
        throw CommandFailure(.usage, error.text)
    }
}
