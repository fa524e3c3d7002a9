// Types of values that mail has words for: names, networks, endpoints, header fields, patterns. What a text may be is
// decided by the types of PosternMail and PosternAuth; here their errors become sentences for the admin.

internal import PosternAuth
internal import PosternMail

/// Longest sentence of an error of PosternMail that is repeated, in characters.
private let maxSentenceCharacters = 400

extension TextType<DomainName> {
    /// A host's or domain's name in A- or U-labels.
    /// - Parameter minLabels: fewest labels; a selector may have one.
    /// - Parameter example: what it is, with an example, for problems.
    static func domainName(minLabels: Int = 2, as expectation: String = "a domain name such as \"example.com\"")
        -> TextType
    {
        return TextType(expectation) { text throws(Unfit) in
            let name = try? DomainName(text)  // the expectation says more than which rule was broken
            guard let name, name.isHostname(minLabels: minLabels) else {
                throw Unfit(expected: expectation, found: text)
            }
            return name
        } write: {
            $0.description
        }
    }
}

extension TextType<Network> {
    static let network = TextType("an address or a network such as \"192.0.2.0/24\"") { text throws(Unfit) in
        do throws(NetworkError) { return try Network(text) } catch {
            throw Unfit(printable(error.description, most: maxSentenceCharacters))
        }
    } write: {
        $0.description
    }
}

extension TextType<Endpoint> {
    /// Where a milter or policy server may listen: a UNIX socket or a TCP port.
    static let stream = TextType("\"unix:/PATH\" or \"inet:PORT@ADDRESS\"") { text throws(Unfit) in
        let endpoint = try listening(text)
        if case .udp = endpoint { throw Unfit(expected: "\"unix:/PATH\" or \"inet:PORT@ADDRESS\"", found: text) }
        return endpoint
    } write: {
        $0.description
    }

    /// Where postern-dns may listen: a UNIX socket, or loopback, since it answers whoever asks.
    static let nameServer = TextType("\"unix:/PATH\", \"udp:127.0.0.1:PORT\" or \"tcp:127.0.0.1:PORT\"") {
        text throws(Unfit) in
        let endpoint = try listening(text)
        switch endpoint {
        case .unix: break
        case .tcp(let host, _), .udp(let host, _):
            guard host == "localhost" || IPAddress(host)?.isLoopback == true else {
                throw Unfit(expected: "a loopback address, since postern-dns answers whoever asks", found: text)
            }
        }
        return endpoint
    } write: {
        $0.description
    }

    private static func listening(_ text: String) throws(Unfit) -> Endpoint {
        let endpoint: Endpoint
        do throws(EndpointError) { endpoint = try Endpoint(text) } catch {
            throw Unfit(printable(error.description, most: maxSentenceCharacters))
        }
        switch endpoint {
        case .unix(let path):
            guard path.hasPrefix("/") else { throw Unfit(expected: "an absolute path after unix:", found: text) }
        case .tcp(let host, let port), .udp(let host, let port):
            guard host == "localhost" || IPAddress(host) != nil else {
                throw Unfit(expected: "an address or localhost, not another name", found: text)
            }
            guard port > 0 else { throw Unfit(expected: "a port from 1 to 65535", found: text) }
        }
        return endpoint
    }

    /// A DNS server to ask: an address, with a port if it is not 53.
    static let upstream = TextType("the address of a DNS server such as \"192.0.2.53\" or \"127.0.0.1:5353\"") {
        text throws(Unfit) in
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        if let address = IPAddress(bare) { return .udp(host: address.description, port: 53) }
        guard let (host, port) = Endpoint.hostAndPort(text), let address = IPAddress(host), port > 0 else {
            throw Unfit(
                expected: "the address of a DNS server such as \"192.0.2.53\" or \"127.0.0.1:5353\"", found: text)
        }
        return .udp(host: address.description, port: port)
    } write: { endpoint in
        String(endpoint.description.dropFirst("udp:".count))
    }
}

extension TextType<String> {
    /// An authserv-id to look for: a name, `*.name` for all below it, or `*` for all. Read by `AuthservIDs`.
    static let authservIDPattern = TextType("an authserv-id such as \"example.com\" or \"*.example.com\"") {
        text throws(Unfit) in
        let name = text.hasPrefix("*.") ? String(text.dropFirst(2)) : text
        let parsed = try? DomainName(name)  // why it is none does not help who mistyped a pattern
        guard text == "*" || parsed?.isHostname() == true else {
            throw Unfit(expected: "an authserv-id such as \"example.com\" or \"*.example.com\"", found: text)
        }
        return text
    } write: {
        $0
    }

    /// An author that a key signs for. Read by `AuthorPattern`.
    static let authorPattern = TextType("a pattern such as \"*@example.com\"") { text throws(Unfit) in
        do throws(AuthorPatternError) { _ = try AuthorPattern(text) } catch {
            throw Unfit("expected a pattern such as \"*@example.com\", found \(quoted(text)), which has \(error)")
        }
        return text
    } write: {
        $0
    }

    /// A header field's name. Source: RFC 5322 §3.6.8; without `;`, which would end `h=` (RFC 6376 §3.5).
    static let fieldName = TextType("a header field's name such as \"List-Id\"") { text throws(Unfit) in
        let isName = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3A && $0 != 0x3B }
        guard isName else { throw Unfit(expected: "a header field's name such as \"List-Id\"", found: text) }
        // RFC 6376 §5.4: the signature field itself MUST NOT be signed.
        guard !text.utf8.equalsIgnoringASCIICase("DKIM-Signature") else {
            throw Unfit(expected: "a field other than DKIM-Signature, which cannot sign itself", found: text)
        }
        return text
    } write: {
        $0
    }

    /// A login or a service's name: any text on one line.
    static func word(_ expectation: String) -> TextType {
        TextType(expectation) { text throws(Unfit) in
            guard !text.isEmpty, !text.utf8.contains(where: \.isASCIIControl) else {
                throw Unfit(expected: expectation, found: text)
            }
            return text
        } write: {
            $0
        }
    }
}

extension ValueType<String> {
    /// A file's path, made absolute from the configuration's folder.
    static let path = ValueType(
        read: { node, reader in
            guard case .string(let text) = node.value, !text.isEmpty, !text.utf8.contains(0) else {
                reader.report("expected a file's path, found \(node.found)", at: node.position)
                return nil
            }
            return reader.path(text)
        },
        write: { tomlString($0) })

    /// Longest path of a folder for sockets, in octets: a socket's own name must fit behind it. Source: unix(7).
    private static var maxSocketFolderOctets: Int { Endpoint.maxPathOctets - 32 }

    /// A path that begins at the root.
    static let absolutePath = text(
        TextType("an absolute path") { text throws(Unfit) in
            guard text.hasPrefix("/"), !text.utf8.contains(0) else {
                throw Unfit(expected: "an absolute path", found: text)
            }
            return text
        } write: {
            $0
        })

    /// An absolute path of a folder that sockets are made in.
    static let socketFolder = text(
        TextType("an absolute path") { text throws(Unfit) in
            guard text.hasPrefix("/"), !text.utf8.contains(0) else {
                throw Unfit(expected: "an absolute path", found: text)
            }
            guard text.utf8.count <= maxSocketFolderOctets else {
                throw Unfit("expected a path of at most \(maxSocketFolderOctets) octets, found \(text.utf8.count)")
            }
            return text
        } write: {
            $0
        })
}

extension ValueType<UInt16> {
    /// A socket's mode in octal digits, as chmod(1) takes it.
    static let mode = text(
        TextType("a mode in octal digits such as \"0660\"") { text throws(Unfit) in
            guard (3...4).contains(text.utf8.count), text.utf8.allSatisfy(\.isASCIIDigit),
                let mode = UInt16(text, radix: 8),
                mode <= 0o777
            else { throw Unfit(expected: "a mode in octal digits such as \"0660\"", found: text) }
            guard mode & 0o600 == 0o600 else {
                throw Unfit(expected: "a mode that lets the owner read and write, such as \"0660\"", found: text)
            }
            return mode
        } write: { mode in
            "0" + String(mode, radix: 8)
        })
}
