// This host's document: its configuration, its keys, and what its daemons say.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

extension GlobalOptions {
    /// - Parameter control: asks the daemons.
    func thisHost(
        _ configuration: Configuration, _ control: DaemonControl, in surroundings: Surroundings
    ) throws(CommandFailure) -> HostDocument {
        let reader = surroundings.keyReader()
        // Where postern-dkim is silent its health tells so.
        let standings = configuration.dkim.entries.isEmpty ? nil : KeyStandingsReport(control)
        let keys = try configuration.dkim.entries.map { entry throws(CommandFailure) in
            HostDocument.Key(
                domain: "\(entry.domain)", selector: "\(entry.selector)",
                digest: try Self.digest(of: entry, for: reader),
                signs: standings?[try DKIMKeyName(entry)]?.signs)
        }
        let daemons = control.usual.map { name in Self.health(of: name, control.ask(name, "status")) }
        return HostDocument(
            name: "\(configuration.host.name)", version: DaemonArguments.release,
            clock: surroundings.now().seconds,
            authservID: configuration.host.authservID,
            stripAuthservIDs: configuration.host.stripAuthservIDs.map { $0.lowercased() }.sorted(), keys: keys,
            daemons: daemons, settings: try ComparedSettings.values(of: configuration.shown(all: true).json))
    }

    private static let digestOctets = 16

    /// - Returns: nil for a key that cannot be used.
    private static func digest(
        of entry: DKIMKeyEntry, for reader: UserIdentity
    ) throws(CommandFailure) -> String? {
        // A key that nobody can use is told by having no digest; `dkim keys` tells why.
        guard let key = try? entry.privateKey(for: reader), let record = try? key.publicKeyRecord else { return nil }
        return Hexadecimal.text(Array(try ContentDigest.hash(Array(record.utf8)).prefix(digestOctets)))
    }

    private static func health(of name: DaemonName, _ answer: DaemonAnswer) -> HostDocument.Health {
        switch answer {
        case .document(let status):
            let refused = status["configuration"]?["refused"] == nil ? nil : "a reload was refused"
            return HostDocument.Health(
                name: name.rawValue, isRunning: true, version: status["version"]?.text,
                generation: status["configuration"]?["generation"]?.number, trouble: refused)
        case .notRunning:
            return HostDocument.Health(
                name: name.rawValue, isRunning: false, version: nil, generation: nil, trouble: nil)
        case .failed(let text):
            return HostDocument.Health(
                name: name.rawValue, isRunning: true, version: nil, generation: nil, trouble: text)
        }
    }
}
