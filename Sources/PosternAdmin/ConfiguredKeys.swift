// The keys that the configuration names, for the subcommands that go through them.

internal import PosternAuth
internal import PosternDaemon
internal import PosternMail

/// A private key and the name under which it is to be published.
struct NamedKey {
    let name: DKIMKeyName
    let privateKey: PrivateKey
}

extension GlobalOptions {
    /// The configuration's keys, whose files must all be good.
    /// - Throws: also when there is none.
    func configuredKeys(in surroundings: Surroundings) throws(CommandFailure) -> (keys: [NamedKey], notes: [String]) {
        let configuration: Configuration
        let notes: [String]
        do throws(CommandFailure) {
            (configuration, notes) = try configurationNeeded(for: .dkim, in: surroundings)
        } catch {
            var failure = error
            if let advice = KeyAdvice.onRights(of: surroundings.keyReader()) { failure.notes.append(advice) }
            throw failure
        }
        let keys = try configuration.dkim.keys.map { key throws(CommandFailure) in
            NamedKey(name: try keyName(domain: key.domain, selector: key.selector), privateKey: key.privateKey)
        }
        guard !keys.isEmpty else {
            throw CommandFailure(
                .badConfiguration,
                "\(configPath): expected a [[dkim.key]], found none; make a key by `postern dkim genkey`")
        }
        return (keys, notes)
    }

    /// The configuration's key of this name.
    func configuredKey(_ name: DKIMKeyName, in surroundings: Surroundings) throws(CommandFailure) -> PrivateKey {
        let keys = try configuredKeys(in: surroundings).keys
        guard let key = keys.first(where: { $0.name == name }) else {
            throw missing(name.domain, name.selector, among: keys)
        }
        return key.privateKey
    }

    /// There is no key of this domain, or none of this selector too.
    func missing(_ domain: DomainName?, _ selector: DomainName?, among keys: [NamedKey]) -> CommandFailure {
        let wanted = [domain.map { "domain \"\($0)\"" }, selector.map { "selector \"\($0)\"" }]
        let names = keys.prefix(Self.maxListed).map { "\($0.name.selector) of \($0.name.domain)" }
        let rest = keys.count > Self.maxListed ? " and \(keys.count - Self.maxListed) more" : ""
        return CommandFailure(
            .badConfiguration,
            "\(configPath): expected a [[dkim.key]] of \(wanted.compactMap { $0 }.joined(separator: " and ")), found "
                + "\(names.joined(separator: ", "))\(rest); for a key that is not configured, name its file")
    }

    /// Most names that an error lists.
    private static let maxListed = 5
}

/// The names of a configured key, which `check` has looked at already.
func keyName(domain: DomainName, selector: DomainName) throws(CommandFailure) -> DKIMKeyName {
    do throws(DKIMKeyNameError) { return try DKIMKeyName(domain: domain, selector: selector) } catch {
        throw CommandFailure(.badConfiguration, error.text)
    }
}
