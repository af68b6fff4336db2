"""City and building models: CityJSON, CityGML, IFC."""
