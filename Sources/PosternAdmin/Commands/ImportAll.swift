// `postern import all`: everything that a host was told in the files of other programs, as one configuration.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

/// Where copies of keys shall lie.
struct ImportKeyPlace: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Name copies of the keys in this folder, and print the commands that make them.", valueName: "folder"))
    var keys: String?

    func validate() throws {
        if let keys, !keys.hasPrefix("/") {
            throw ValidationError("--keys: expected an absolute path, found \"\(LogText.escaped(keys.utf8))\"")
        }
    }

    func keys(below root: String?) -> ImportedKeys { ImportedKeys(folder: keys, root: root ?? "") }
}

struct ImportAll: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "all",
        abstract: "Makes one configuration of all programs that this host has.",
        usage: "postern import all [--keys <folder>] [--shadow] [--root <folder>]",
        discussion: """
            Reads the files of OpenDKIM, OpenDMARC, policyd-spf and postgrey that are there, and of Postfix's own \
            settings, as postconf prints them, postscreen's DNS lists and anvil's limits; each as its own import does. \
            Tables of one name become one. Where two programs were told differently, the first one counts and the \
            other is told. With OpenDKIM and OpenDMARC dkim.verify is false: postern-dmarc verifies for both.

            With --keys, the configuration names copies of OpenDKIM's keys, which postern-dkim can read while OpenDKIM \
            still runs; lines that begin with "# run: " are the commands that make them.

            EXAMPLES
              postern import all --keys /etc/postern/keys --shadow > postern.toml
              sed -n 's/^# run: //p' postern.toml | sh

            EXIT STATUS
              0   everything was carried over
              1   something was left out
              64  the command line is wrong
              69  there is nothing to import, or a file cannot be read

            FILES
              /etc/opendkim.conf
              /etc/opendmarc.conf
              /etc/postfix-policyd-spf-python/policyd-spf.conf
              /etc/default/postgrey
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ImportRoot
    @OptionGroup var copies: ImportKeyPlace
    @Flag(help: "Begin in shadow: log what would be done, and do nothing.") var shadow = false
    @Option(
        help: ArgumentHelp("Where main.cf and master.cf are. (default: as Postfix has it)", valueName: "folder"))
    var postfixConfig: String?

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        var merged = MergedSettings()
        var notes: [String] = []
        let read = place.reader(in: surroundings)
        func octets(_ path: String) -> [UInt8]? {
            // Who has no such program has no such file.
            guard place.exists(path) else { return nil }
            do throws(ImportRefusal) { return try read(path) } catch {
                notes.append("warning: \(error.reason)")
                return nil
            }
        }
        let dkim = "/etc/opendkim.conf"
        if let text = octets(dkim) {
            merged.add(
                OpenDKIMSettings.settings(of: text, file: dkim, keys: copies.keys(below: place.root), reading: read),
                of: "opendkim")
        }
        let dmarc = "/etc/opendmarc.conf"
        if let text = octets(dmarc) {
            merged.add(OpenDMARCSettings.settings(of: text, file: dmarc, reading: read), of: "opendmarc")
        }
        let spf = "/etc/postfix-policyd-spf-python/policyd-spf.conf"
        if let text = octets(spf) { merged.add(PolicydSPFSettings.settings(of: text, file: spf), of: "policyd-spf") }
        let postgrey = "/etc/default/postgrey"
        if let text = octets(postgrey) {
            merged.add(
                ImportPostgrey.settings(of: text, name: postgrey, exists: place.exists, reading: read), of: "postgrey")
        }
        if place.root == nil || postfixConfig != nil { addPostfix(&merged, &notes) }
        guard !merged.peers.isEmpty else {
            throw CommandFailure(
                .unavailable, "expected a file of OpenDKIM, OpenDMARC, policyd-spf or postgrey, found none")
        }
        if merged.peers.contains("opendkim"), merged.peers.contains("opendmarc") {
            merged.set(
                "[dkim]", "verify", "verify = false  # postern-dmarc verifies, and tells all results in one field")
        }
        if shadow { merged.set("[host]", "shadow", "shadow = true  # without this line Postern decides") }
        var output = CommandOutput(merged.settings, json: options.json)
        output.notes = notes + output.notes
        return output
    }

    /// What Postfix itself was told; where there is no Postfix nothing is.
    private func addPostfix(_ merged: inout MergedSettings, _ notes: inout [String]) {
        do throws(CommandFailure) {
            let text = try PostconfRun(folder: postfixConfig).changed()
            if let lists = PostscreenLists.settings(of: text, file: "postconf") {
                merged.add(lists, of: "postscreen")
            }
            if let limits = AnvilLimits.settings(of: text, file: "postconf") { merged.add(limits, of: "anvil") }
        } catch { notes.append("warning: \(error.text); of Postfix's own settings nothing is read") }
    }
}
