// A `[[dkim.key]]` as it is written: what the CLI lists. Unlike DKIMSigningKey it is there whether or not its file can
// be used, and for who may not read the file at all.

public import PosternAuth
public import PosternMail

/// One `[[dkim.key]]`.
public struct DKIMKeyEntry: Sendable {
    /// `d=`.
    public let domain: DomainName
    /// `s=`.
    public let selector: DomainName
    /// The private key's file, absolute.
    public let file: String
    /// Authors that it signs for; none: the domain and its subdomains.
    public let from: [String]
    /// Logins that may use it.
    public let users: [String]
    /// The directory that holds it, absolute; nil where the file is named.
    public let directory: String?
    /// When the file was written; nil where the file is named.
    public let made: UnixTime?
    /// Such as `dkim.key[2]`.
    public let path: String
    /// What names the file: `dkim.key[2].file` or `dkim.key[2].directory`.
    public let keyPath: String

    /// - Returns: nil if a key without which it makes no sense is missing or wrong, which is a problem already.
    init?(_ declared: DeclaredKey) {
        guard let domain = declared.domain, let selector = declared.selector, let file = declared.file else {
            return nil
        }
        self.domain = domain
        self.selector = selector
        self.file = file
        from = declared.table[DKIMKeyTable.from] ?? []
        users = declared.table[DKIMKeyTable.users]
        directory = declared.directory
        made = declared.made
        path = declared.table.path
        keyPath = declared.filePlace.keyPath
    }

    /// Reads the private key as a start of postern-dkim does.
    /// - Parameter user: whose rights the file is judged for; default: postern-dkim's, if there is such a user, else
    ///   those of who runs this.
    public func privateKey(for user: UserIdentity? = nil) throws(DKIMKeyEntryError) -> PrivateKey {
        let user = user ?? UserIdentity(named: ConfigurationRole.dkim.userName) ?? .current
        do throws(Unfit) { return try DKIMSettings.readKey(file, for: user) } catch {
            throw DKIMKeyEntryError(description: error.text)
        }
    }
}

/// Why a key's file cannot be used: `expected …, found …`.
public struct DKIMKeyEntryError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
}
