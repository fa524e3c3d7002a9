// A message's header as it comes in, field by field, within bounds. Whoever must not miss a field whatever the bounds
// are (the author, forged results) looks at each one itself as it comes.

public struct HeaderCollector: Sendable {
    /// Most fields kept. Postfix itself sets no bound but the message's size; real mail has under 200.
    public static let maxFields = 20_000
    /// Most octets kept, over all fields. Postfix cuts a single field at 100 KiB (header_size_limit).
    public static let maxOctets = 4 * 1024 * 1024

    /// The fields in order, top to bottom; not all of them when `isComplete` is false.
    public private(set) var fields: [HeaderField] = []
    /// Whether every field was kept.
    public private(set) var isComplete = true
    /// Whether any field, kept or not, is a Received field. Postfix hides the one that it adds itself.
    public private(set) var hasReceived = false
    private var octets = 0

    public init() {}

    public mutating func add(_ field: HeaderField) {
        if !hasReceived, field.isNamed("Received") { hasReceived = true }
        guard isComplete, fields.count < Self.maxFields, octets + field.octets <= Self.maxOctets else {
            isComplete = false
            return
        }
        octets += field.octets
        fields.append(field)
    }
}
