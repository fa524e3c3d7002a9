// Cuts requests out of what arrives on a policy connection: lines `name=value` until an empty line, in pieces of any
// size (SMTPD_POLICY_README). What is malformed ends the connection, since nobody knows where the next request would
// begin. Values may hold anything but LF and NUL; what they mean is not looked at here.

public import PosternMail

public struct PolicyRequestParser: Sendable {
    /// Longest line without its LF, in octets. Postfix gives login answers of 12,288 octets
    /// (smtpd_sasl_response_limit), everything else is shorter.
    public static let maxLineOctets = 16_384
    /// Longest request, in octets.
    public static let maxRequestOctets = 32_768
    /// Most attributes of a request, unknown ones included; Postfix 3.12 sends 33.
    public static let maxAttributes = 128
    /// A buffer that grew beyond this for one request is let go after it.
    private static let keptOctets = 8_192

    /// What has arrived and was not given away. Appended to by the connection.
    var input: [UInt8] = []
    private var request = RequestUnderWay()
    /// Where the line that is being read begins, and up to where it holds no LF.
    private var line = 0
    private var searched = 0

    public init() {}

    public mutating func append(_ octets: some Sequence<UInt8>) { input.append(contentsOf: octets) }

    /// Whether no octet of a request has arrived that is not complete.
    public var isBetweenRequests: Bool { input.count == request.start }

    /// The next whole request; nil when more octets are needed.
    /// - Throws: what is wrong with it; the parser is of no use any more.
    public mutating func next() throws(PolicyRequestError) -> PolicyRequest? {
        while let end = input[searched...].firstIndex(of: 0x0A) {
            let text = input[line..<end]
            guard text.count <= Self.maxLineOctets else { throw .lineTooLong }
            guard end + 1 - request.start <= Self.maxRequestOctets else { throw .requestTooLong }
            line = end + 1
            searched = line
            guard text.isEmpty else {
                try request.take(text)
                continue
            }
            let complete = try request.complete(in: input)
            request = RequestUnderWay(start: line)
            return complete
        }
        searched = input.count
        guard searched - line <= Self.maxLineOctets else { throw .lineTooLong }
        guard searched - request.start <= Self.maxRequestOctets else { throw .requestTooLong }
        compact()
        return nil
    }

    private mutating func compact() {
        let taken = request.start
        guard taken > 0 else { return }
        if taken == input.count {
            input.removeAll(keepingCapacity: input.capacity <= Self.keptOctets)
        } else {
            input.removeFirst(taken)
        }
        line -= taken
        searched -= taken
        request.move(by: taken)
    }
}

/// What is known of the request whose lines are arriving.
private struct RequestUnderWay: Sendable {
    /// Where it begins in the input.
    private(set) var start: Int
    private var stage: PolicyStage?
    private var isAccessPolicy = false
    private var lines = 0
    /// Bit n: the attribute with raw value n was there.
    private var seen: UInt64 = 0
    /// Of values, relative to `start`.
    private var places = noPlaces

    private static let noPlaces = [Range<Int>](repeating: 0..<0, count: PolicyAttribute.allCases.count)
    private static let accessPolicy = Array("smtpd_access_policy".utf8)
    private static let stages = PolicyStage.allCases.map { (Array($0.rawValue.utf8), $0) }

    init(start: Int = 0) { self.start = start }

    /// Octets before the request are gone.
    mutating func move(by count: Int) { start -= count }

    /// - Parameter line: one line that is not empty, without its LF.
    mutating func take(_ line: ArraySlice<UInt8>) throws(PolicyRequestError) {
        lines += 1
        guard lines <= PolicyRequestParser.maxAttributes else { throw .tooManyAttributes }
        guard let equals = line.firstIndex(of: 0x3D), equals > line.startIndex else { throw .noAttribute }
        guard !line.contains(0) else { throw .nul }
        // SMTPD_POLICY_README: attributes that a server does not care about are ignored; newer Postfix has more.
        guard let attribute = AttributeNames.attribute(line[..<equals]) else { return }
        // SMTPD_POLICY_README lets a server keep the first value or the last. But Postfix sends each once: a second
        // one came with a line feed in a value of a stranger's, and then neither can be believed.
        let bit = UInt64(1) << UInt64(attribute.rawValue)
        guard seen & bit == 0 else { throw .repeated(attribute) }
        seen |= bit
        let value = line[(equals + 1)...]
        places[attribute.rawValue] = (value.startIndex - start)..<(value.endIndex - start)
        switch attribute {
        case .request:
            guard value.elementsEqual(Self.accessPolicy) else { throw .unknownRequest }
            isAccessPolicy = true
        case .protocolState:
            guard let (_, stage) = Self.stages.first(where: { value.elementsEqual($0.0) }) else { throw .unknownStage }
            self.stage = stage
        default: break
        }
    }

    /// The empty line has come.
    func complete(in input: [UInt8]) throws(PolicyRequestError) -> PolicyRequest {
        guard isAccessPolicy else { throw .unknownRequest }
        guard let stage else { throw .unknownStage }
        let end = places.reduce(0) { max($0, $1.upperBound) }
        return PolicyRequest(stage: stage, octets: Array(input[start..<(start + end)]), places: places)
    }
}

/// From a name in a request to the attribute.
private enum AttributeNames {
    /// Known names by their length: few share one.
    private static let byLength: [[(name: [UInt8], attribute: PolicyAttribute)]] = {
        let all = PolicyAttribute.allCases.map { (name: Array($0.name.utf8), attribute: $0) }
        let longest = all.map(\.name.count).max() ?? 0
        return (0...longest).map { length in all.filter { $0.name.count == length } }
    }()

    /// - Returns: nil for a name that we do not know.
    static func attribute(_ name: ArraySlice<UInt8>) -> PolicyAttribute? {
        guard byLength.indices.contains(name.count) else { return nil }
        for candidate in byLength[name.count] where name.elementsEqual(candidate.name) { return candidate.attribute }
        return nil
    }
}
