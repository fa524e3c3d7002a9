// Where keys lie that another signer uses: in its own folder, which postern-dkim may not enter, or as copies in a folder of
// ours, so that both can sign until the change is done. Nothing is copied here; the commands that do it are told.

/// What an import says of key files.
struct ImportedKeys {
    /// Where copies shall lie, an absolute path; nil: keys stay where they are.
    let folder: String?
    /// Before the names that settings have, as `--root` says.
    let root: String
    /// One command for each copy.
    private(set) var commands: [String] = []
    private var known: Set<String> = []

    init(folder: String? = nil, root: String = "") { (self.folder, self.root) = (folder, root) }

    /// The file that the configuration names for a key.
    func place(of file: String, _ domain: String, _ selector: String) -> String {
        folder.map { "\($0)/\(domain)/\(selector).pem" } ?? file
    }

    /// Adds the command that copies a key which is in the configuration. Of one that was refused there is none: root runs
    /// these, and names that nobody has judged lead anywhere.
    mutating func copy(_ file: String, _ domain: String, _ selector: String) {
        guard folder != nil else { return }
        let command =
            "install -D -m 0400 -o postern-dkim -g postern-dkim \(PostfixEdit.quoted(root + file)) "
            + PostfixEdit.quoted(place(of: file, domain, selector))
        if known.insert(command).inserted { commands.append(command) }
    }

    /// Comment lines, of which those that begin with `run: ` are for a shell.
    var head: [String] {
        guard folder != nil else {
            return ["Of OpenDKIM's settings. Key files: chown postern-dkim, mode 0400; then postern check."]
        }
        return ["Of OpenDKIM's settings."]
            + (commands.isEmpty ? [] : ["Copies of its keys, which postern-dkim can read, are made by"])
            + commands.map { "run: \($0)" }
    }
}
